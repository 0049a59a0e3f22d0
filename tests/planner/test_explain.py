"""The sentence of a decision, by table: what an operator reads everywhere."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from planner.explain import explain
from planner.outcome import Outcome, outcome_of
from planner.quantities import seconds, share
from policies.config import Slo
from policies.types import (
    Binding,
    Decision,
    Expectation,
    Hold,
    HoldReason,
    Limiter,
    Margin,
    PerRole,
    PoolState,
    Prospect,
    Unavailable,
)

SLO = Slo(ttft_seconds=2.0, itl_seconds=0.05)
NOW = Expectation(
    ttft_seconds=0.9,
    itl_seconds=0.028,
    ttft_attainment=0.9996,
    itl_attainment=1.0,
    carried_fraction=1.0,
)
PLANNED = replace(NOW, ttft_seconds=1.42, itl_seconds=0.031, ttft_attainment=0.995)
SLOW_PROMPTS = replace(PLANNED, ttft_seconds=3.2, ttft_attainment=0.912)
SLOW_TOKENS = replace(PLANNED, itl_seconds=0.062, itl_attainment=0.8)
OVERLOADED = replace(
    PLANNED,
    ttft_seconds=math.inf,
    itl_seconds=math.inf,
    ttft_attainment=0.0,
    itl_attainment=0.0,
    carried_fraction=0.6,
)


def margin(binding: Binding | None, fewer: Expectation | None, more=PLANNED, gpus=1) -> Margin:
    return Margin(gpus=gpus, more=more, fewer=fewer, binding=binding)


BY_TTFT = margin(Binding.TTFT, SLOW_PROMPTS)
BY_MEMORY = margin(Binding.KV_MEMORY, SLOW_PROMPTS)
AT_MINIMUM = margin(Binding.MINIMUM, None)


def prospect(prefill: Margin = BY_TTFT, decode: Margin = BY_MEMORY, **changes) -> Prospect:
    usual = Prospect(
        replicas=PerRole(5, 4),
        now=NOW,
        likely=NOW,
        planned=PLANNED,
        sufficient=True,
        tolerated=False,
        margins=PerRole(prefill, decode),
        needed_replicas=PerRole(4.1, 3.6),
    )
    return replace(usual, **changes)


EXPECTED = (
    "from the demand of now to that planned for, TTFT p99 is 900 ms to 1.42 s (objective 2 s), "
    "ITL p99 28 ms to 31 ms (objective 50 ms), 99.96% to 99.5% of requests in time"
)
CALLED_FOR = "the demand calls for 4.1+3.6 replicas, 1.14 prefill per decode (5+4: 1.25)"
CALLED_FOR_CHANGED = CALLED_FOR.replace("5+4: 1.25", "3+4: 0.75, 5+4: 1.25")


def decision(current, target, foreseen: Prospect | None = None, **more) -> Decision:
    pairs = {"current": current and PerRole(*current), "target": target and PerRole(*target)}
    foresight = None if foreseen is None else (lambda pair: replace(foreseen, replicas=pair))
    return Decision(decided_at_seconds=0.0, **pairs, foresight=foresight, **more)


def hold(reason: HoldReason, detail: str, size=(5, 4), **more) -> Decision:
    return decision(size, size, hold=Hold(reason, detail), **more)


WAITS = "more was wanted within the last 300 s"
STEP = "at most 2 replicas more in one decision"
SCARCE = prospect(
    margin(None, OVERLOADED, replace(PLANNED, ttft_attainment=0.91), gpus=2),
    margin(None, OVERLOADED, replace(PLANNED, ttft_attainment=0.8223), gpus=4),
    planned=replace(PLANNED, ttft_seconds=4.0, ttft_attainment=0.822),
    sufficient=False,
)
SHORT = prospect(
    margin(None, None, replace(OVERLOADED, carried_fraction=0.75)),
    margin(None, None, OVERLOADED),
    planned=OVERLOADED,
    sufficient=False,
)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        pytest.param(
            decision((3, 4), (5, 4), prospect(), binding=(Binding.TTFT, Binding.KV_MEMORY)),
            "scale prefill 3->5, decode stays at 4: "
            "prefill is bound by TTFT (with 4: TTFT p99 3.2 s, 91.2% in time), "
            "decode is bound by KV memory (with 3: TTFT p99 3.2 s, 91.2% in time); "
            f"nothing limits it; {EXPECTED}; {CALLED_FOR_CHANGED}",
            id="scale-out-tells-what-one-replica-fewer-would-break",
        ),
        pytest.param(
            decision(
                (5, 4),
                (5, 2),
                prospect(BY_TTFT, margin(Binding.ITL, SLOW_TOKENS)),
                binding=(Binding.TTFT, Binding.ITL),
            ),
            "scale decode 4->2, prefill stays at 5: "
            "prefill is bound by TTFT (with 4: TTFT p99 3.2 s, 91.2% in time), "
            "decode is bound by ITL (with 1: ITL p99 62 ms, 79.6% in time); "
            f"nothing limits it; {EXPECTED}; "
            f"{CALLED_FOR.replace('5+4: 1.25', '5+4: 1.25, 5+2: 2.50')}",
            id="scale-in-tells-why-not-further",
        ),
        pytest.param(
            decision(
                (3, 4),
                (5, 4),
                prospect(margin(Binding.KV_LINK, OVERLOADED), AT_MINIMUM),
                binding=(Binding.KV_LINK, Binding.MINIMUM),
            ),
            "scale prefill 3->5, decode stays at 4: "
            "prefill is bound by the KV link "
            "(with 4: it falls behind, 60.0% of the demand served), "
            f"decode is at its minimum; nothing limits it; {EXPECTED}; {CALLED_FOR_CHANGED}",
            id="with-one-fewer-a-stage-would-not-keep-up",
        ),
        pytest.param(
            decision(
                (3, 4),
                (5, 4),
                SCARCE,
                raw=PerRole(9, 4),
                binding=(Binding.TTFT, Binding.KV_MEMORY),
                limiters=(
                    Limiter("limit_scale_out", PerRole(9, 4), PerRole(6, 4), STEP),
                    Limiter("fit_budget", PerRole(6, 4), PerRole(5, 4), "9 GPUs are the budget"),
                ),
            ),
            "scale prefill 3->5, decode stays at 4: "
            f"9+4 is wanted (TTFT binds, KV memory binds), but 6+4: {STEP}, "
            "then 5+4: 9 GPUs are the budget; "
            "one prefill replica more (2 GPUs) would raise requests in time from 82.2% to 91.0%, "
            "one decode replica more (4 GPUs) would not help; "
            "from the demand of now to that planned for, TTFT p99 is 900 ms to 4 s "
            "(objective 2 s), ITL p99 28 ms to 31 ms (objective 50 ms), "
            f"99.96% to 82.2% of requests in time; {CALLED_FOR_CHANGED}",
            id="the-chain-of-limits-in-their-order",
        ),
        pytest.param(
            decision(
                (1, 1),
                (1, 1),
                SHORT,
                hold=Hold(HoldReason.ALREADY_RIGHT, "the size wanted"),
                binding=(Binding.BUDGET,),
                notes=("2 GPUs reach 0.0% of 99.0%; 9 would be needed (5 prefill + 4 decode)",),
            ),
            "hold 1+1: the GPU budget binds; "
            "one prefill replica more (1 GPU) would raise the demand served from 60.0% to 75.0%, "
            "one decode replica more (1 GPU) would not help; "
            "2 GPUs reach 0.0% of 99.0%; 9 would be needed (5 prefill + 4 decode); "
            "from the demand of now to that planned for, TTFT p99 is 900 ms to unbounded "
            "(objective 2 s), ITL p99 28 ms to unbounded (objective 50 ms), "
            "99.96% to 0% of requests in time (it falls behind, 60.0% served); "
            f"{CALLED_FOR.replace('5+4: 1.25', '1+1: 1.00')}",
            id="short-of-budget-says-what-is-missing-and-what-one-more-buys",
        ),
        pytest.param(
            hold(
                HoldReason.SCALE_IN_STABILISING,
                WAITS,
                foreseen=prospect(margin(None, PLANNED)),
                raw=PerRole(4, 4),
                binding=(Binding.TTFT, Binding.KV_MEMORY),
                limiters=(Limiter("stabilise_scale_in", PerRole(4, 4), PerRole(5, 4), WAITS),),
            ),
            "hold 5+4: scale-in waits; "
            f"4+4 is wanted (TTFT binds, KV memory binds), but 5+4: {WAITS}; "
            "prefill could do with 4, "
            "decode is bound by KV memory (with 3: TTFT p99 3.2 s, 91.2% in time); "
            f"{EXPECTED}; {CALLED_FOR}",
            id="a-held-scale-in-says-what-would-do",
        ),
        pytest.param(
            hold(
                HoldReason.ALREADY_RIGHT,
                "the size wanted",
                foreseen=prospect(now=PLANNED, needed_replicas=PerRole(0.0, 0.0)),
                binding=(Binding.INFEASIBLE_SLO, Binding.TTFT, Binding.KV_MEMORY),
            ),
            "hold 5+4: the SLO is out of reach; "
            "prefill is bound by TTFT (with 4: TTFT p99 3.2 s, 91.2% in time), "
            "decode is bound by KV memory (with 3: TTFT p99 3.2 s, 91.2% in time); "
            "TTFT p99 is 1.42 s (objective 2 s), "
            "ITL p99 31 ms (objective 50 ms), 99.5% of requests in time",
            id="what-is-sure-is-no-range-and-no-demand-has-no-ratio",
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
            hold(HoldReason.ALREADY_RIGHT, "the size wanted"),
            "hold 5+4: already right",
            id="already-right-and-nothing-foreseen",
        ),
        pytest.param(
            hold(HoldReason.METRICS_UNKNOWN, "no answer from prometheus:9090"),
            "hold 5+4: the metrics are unknown: no answer from prometheus:9090",
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


def test_a_pair_that_is_kept_though_it_falls_short_says_so():
    near = replace(PLANNED, ttft_attainment=0.964)
    kept = prospect(planned=near, tolerated=True)
    sentence = explain(hold(HoldReason.ALREADY_RIGHT, "", foreseen=kept), SLO)
    said = "99.96% to 96.4% of requests in time (kept, as a little less demand would meet 99.0%)"
    assert said in sentence


@pytest.mark.parametrize(
    ("ready", "said"),
    [
        pytest.param((3, 4), "once all are ready (3 of 5 prefill are now), from", id="one"),
        pytest.param(
            (3, 1), "once all are ready (3 of 5 prefill, 1 of 4 decode are now), from", id="both"
        ),
        pytest.param((5, 4), "; from the demand of now", id="none"),
        pytest.param((6, None), "; from the demand of now", id="unknown-is-not-missing"),
    ],
)
def test_what_is_not_ready_yet_is_told_before_what_is_expected_of_it(ready, said):
    pools = PerRole(*ready).map(
        lambda count: (
            Unavailable("403 Forbidden")
            if count is None
            else PoolState(desired_replicas=count, ready_replicas=count)
        )
    )
    assert said in explain(hold(HoldReason.ALREADY_RIGHT, "", foreseen=prospect()), SLO, pools)


def test_an_objective_that_grows_with_the_prompt_is_written_whole():
    slo = Slo(ttft_seconds=0.5, ttft_seconds_per_input_token=0.0002, attainment_fraction=0.995)
    sentence = explain(decision((1, 1), (2, 1), prospect()), slo)
    assert "TTFT p99.5 is 900 ms to 1.42 s (objective 500 ms + 200 us per prompt token)" in sentence


@pytest.mark.parametrize("reason", list(HoldReason))
def test_every_hold_reason_has_words(reason: HoldReason):
    sentence = explain(hold(reason, "because"), SLO)
    assert sentence.startswith("hold 5+4: ")
    assert "_" not in sentence


@pytest.mark.parametrize("binding", list(Binding))
def test_every_constraint_has_words(binding: Binding):
    alone = explain(decision((1, 1), (2, 1), binding=(binding,)), SLO)
    assert alone.startswith("scale prefill 1->2, decode stays at 1: ")
    assert "_" not in alone


@pytest.mark.parametrize("binding", list(Binding)[: list(Binding).index(Binding.MINIMUM) + 1])
def test_every_constraint_of_one_side_has_words_there(binding: Binding):
    sentence = explain(decision((1, 1), (2, 1), prospect(margin(binding, SLOW_PROMPTS))), SLO)
    assert "prefill is " in sentence
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
    ("fraction", "text"),
    [
        pytest.param(0.0, "0%", id="none"),
        pytest.param(0.0004, "0.0%", id="hardly-any"),
        pytest.param(0.9712, "97.1%", id="most"),
        pytest.param(0.99962, "99.96%", id="nearly-all"),
        pytest.param(0.99999, "100%", id="all"),
    ],
)
def test_a_share_reads_as_all_only_when_it_is(fraction: float, text: str):
    assert share(fraction) == text


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
