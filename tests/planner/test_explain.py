"""The sentence of a decision, by table: what an operator reads everywhere."""

from __future__ import annotations

import math

import pytest

from planner.explain import explain, seconds
from planner.outcome import Outcome, outcome_of
from policies.config import Slo
from policies.types import Binding, Decision, Expectation, Hold, HoldReason, Limiter, PerRole

SLO = Slo(ttft_seconds=2.0, itl_seconds=0.05)
GOOD = Expectation(ttft_seconds=1.42, itl_seconds=0.031, ttft_attainment=0.995, itl_attainment=1.0)
WORST = Expectation(ttft_seconds=math.inf, itl_seconds=0.2, ttft_attainment=0.0, itl_attainment=0.0)


def decision(current, target, **more) -> Decision:
    pairs = {"current": current and PerRole(*current), "target": target and PerRole(*target)}
    return Decision(decided_at_seconds=0.0, **pairs, **more)


def hold(reason: HoldReason, detail: str, size=(3, 4), **more) -> Decision:
    return decision(size, size, hold=Hold(reason, detail), **more)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        pytest.param(
            decision((3, 4), (5, 4), binding=(Binding.TTFT, Binding.ITL), expected=GOOD),
            "scale prefill 3->5, decode stays at 4: TTFT binds, ITL binds; "
            "expected TTFT 1.42 s of 2 s, ITL 31 ms of 50 ms",
            id="scale-out",
        ),
        pytest.param(
            decision(
                (3, 4),
                (5, 4),
                binding=(Binding.TTFT,),
                expected=GOOD,
                limiters=(Limiter("limit", PerRole(8, 4), PerRole(5, 4), "2 more at once"),),
            ),
            "scale prefill 3->5, decode stays at 4: TTFT binds; "
            "8+4 is wanted (TTFT 1.42 s of 2 s, ITL 31 ms of 50 ms), but 2 more at once",
            id="limited-scale-out-does-not-promise-what-the-wanted-pair-would-give",
        ),
        pytest.param(
            decision(
                (1, 1),
                (4, 4),
                binding=(Binding.BUDGET,),
                expected=WORST,
                notes=("8 GPUs reach 0.0% of 99.0%; 20 would be needed",),
            ),
            "scale prefill 1->4, decode 1->4: the GPU budget binds; "
            "expected TTFT unbounded of 2 s, ITL 200 ms of 50 ms; "
            "8 GPUs reach 0.0% of 99.0%; 20 would be needed",
            id="short-of-budget",
        ),
        pytest.param(
            decision(
                (3, 4),
                (3, 6),
                limiters=(Limiter("fallback", PerRole(3, 4), PerRole(3, 6), "blind for 650 s"),),
                notes=("blind for 650 s",),
            ),
            "scale decode 4->6, prefill stays at 3: blind for 650 s",
            id="a-fallback-is-nobody-s-wish-and-says-its-reason-once",
        ),
        pytest.param(
            hold(HoldReason.ALREADY_RIGHT, "the size wanted", binding=(Binding.KV_MEMORY,)),
            "hold 3+4: KV memory binds",
            id="already-right-tells-what-binds",
        ),
        pytest.param(
            hold(HoldReason.ALREADY_RIGHT, "the size wanted"),
            "hold 3+4: already right",
            id="already-right-and-nothing-known-to-bind",
        ),
        pytest.param(
            hold(
                HoldReason.SCALE_IN_STABILISING,
                "300 s are not over",
                limiters=(Limiter("x", PerRole(2, 4), PerRole(3, 4), "300 s are not over"),),
            ),
            "hold 3+4: scale-in waits; 2+4 is wanted, but 300 s are not over",
            id="stabilising-says-its-reason-once",
        ),
        pytest.param(
            hold(HoldReason.METRICS_UNKNOWN, "no answer from prometheus:9090"),
            "hold 3+4: the metrics are unknown: no answer from prometheus:9090",
            id="metrics-unknown",
        ),
        pytest.param(
            hold(HoldReason.POOL_UNKNOWN, "decode: 403 Forbidden", size=None),
            "hold unknown size: a pool cannot be read: decode: 403 Forbidden",
            id="pool-unknown-has-no-size",
        ),
    ],
)
def test_a_decision_in_one_sentence(given: Decision, sentence: str):
    assert explain(given, SLO) == sentence


def test_an_objective_that_grows_with_the_prompt_is_written_whole():
    slo = Slo(ttft_seconds=0.5, ttft_seconds_per_input_token=0.0002)
    sentence = explain(decision((1, 1), (2, 1), expected=GOOD), slo)
    assert "TTFT 1.42 s of 500 ms + 200 us per prompt token" in sentence


@pytest.mark.parametrize("reason", list(HoldReason))
def test_every_hold_reason_has_words(reason: HoldReason):
    sentence = explain(hold(reason, "because"), SLO)
    assert sentence.startswith("hold 3+4: ")
    assert "_" not in sentence


@pytest.mark.parametrize("binding", list(Binding))
def test_every_constraint_has_words(binding: Binding):
    sentence = explain(decision((1, 1), (2, 1), binding=(binding,)), SLO)
    assert sentence.startswith("scale prefill 1->2, decode stays at 1: ")
    assert "_" not in sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(0.0312, "31.2 ms", id="milliseconds"),
        pytest.param(1.0, "1 s", id="one-second"),
        pytest.param(0.0, "0 ms", id="zero"),
        pytest.param(1234.5, "1234 s", id="long"),
        pytest.param(math.inf, "unbounded", id="infinite"),
        pytest.param(math.nan, "unbounded", id="undefined"),
    ],
)
def test_durations_are_written_in_the_unit_people_read(value: float, text: str):
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("given", "outcome"),
    [
        pytest.param(decision((3, 4), (5, 4)), Outcome.SCALE_OUT, id="one-grows"),
        pytest.param(decision((3, 4), (3, 2)), Outcome.SCALE_IN, id="one-shrinks"),
        pytest.param(decision((3, 4), (5, 2)), Outcome.REBALANCE, id="one-grows-one-shrinks"),
        pytest.param(hold(HoldReason.BOUNDS, ""), Outcome.HOLD, id="hold"),
    ],
)
def test_outcome_is_the_direction_of_both_roles(given: Decision, outcome: Outcome):
    assert outcome_of(given) is outcome
