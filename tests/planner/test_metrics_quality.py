"""What is old, partial or contradictory is caught, named, and never scales in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from planner.metrics.crosschecks import Evidence
from planner.metrics.preset import Preset, Signal
from planner.metrics.quality import QualitySettings, beside_pools, judge
from planner.metrics.reading import Reading
from planner.metrics.signals import SIGNALS
from planner.metrics.vector import Sample
from policies.lengths import Lengths
from policies.types import (
    Latency,
    Observation,
    PerRole,
    Pools,
    PoolState,
    Quality,
    Trust,
    Unavailable,
)

WELL = Observation(
    observed_at_seconds=600.0,
    window_seconds=60.0,
    requests_per_second=20.0,
    finished_per_second=20.0,
    input_tokens=Lengths.lognormal(1000.0),
    output_tokens_mean=100.0,
    ttft=Latency(mean_seconds=0.4),
    itl=Latency(mean_seconds=0.02),
    waiting_requests=PerRole(2.0, 0.0),
    running_requests=PerRole(4.0, 40.0),
    kv_usage_fraction=0.5,
)


def reading(lacks: Collection[str] = (), **numbers: float) -> Reading:
    """The answers of a stack that has every signal but those it lacks."""
    asked = {name: Signal((name,), meaning=name) for name in SIGNALS if name not in lacks}
    answered = {"requests_per_second": 20.0, **numbers}
    answers = {f"{name}/0": (Sample({}, v),) for name, v in answered.items()}
    return Reading(Preset("mine", "mine", asked), answers)


def judged(
    now: Observation,
    before: Observation | None = None,
    lacks: Collection[str] = (),
    **numbers: float,
) -> Observation:
    """Judge `now` after a minute of `before` (by default of the same)."""
    past = tuple(
        replace(before or now, observed_at_seconds=now.observed_at_seconds - ago)
        for ago in (60, 45, 30, 15)
    )
    return judge(Evidence(now, past, reading(lacks, **numbers)), QualitySettings())


def test_a_sound_observation_is_followed_in_full() -> None:
    seen = judged(WELL, prefill_tokens_per_second=20_000.0, decode_coverage_fraction=1.0)
    assert seen == WELL
    assert seen.trust is Trust.FULL


def test_an_answer_that_may_lack_series_never_scales_in() -> None:
    past = tuple(replace(WELL, observed_at_seconds=600.0 - ago) for ago in (60, 45, 30, 15))
    sound = reading(prefill_tokens_per_second=20_000.0)
    seen = judge(Evidence(WELL, past, sound, ("store eu-2 is down",)), QualitySettings())
    assert seen.trust is Trust.SCALE_OUT_ONLY
    assert seen.problems == ("store eu-2 is down",)


@pytest.mark.parametrize(
    ("now", "trust"),
    [
        pytest.param(replace(WELL, requests_per_second=None), Trust.NONE, id="no-arrival-rate"),
        pytest.param(
            replace(WELL, waiting_requests=PerRole(None, 0.0)),
            Trust.SCALE_OUT_ONLY,
            id="no-prefill-queue",
        ),
        pytest.param(replace(WELL, kv_usage_fraction=None), Trust.SCALE_OUT_ONLY, id="no-kv-usage"),
        pytest.param(
            replace(WELL, demand_quality=Quality(age_seconds=61)), Trust.NONE, id="old-arrivals"
        ),
        pytest.param(
            replace(WELL, pool_quality=PerRole(Quality(), Quality(age_seconds=61))),
            Trust.SCALE_OUT_ONLY,
            id="old-decode-gauges",
        ),
        pytest.param(
            replace(WELL, pool_quality=PerRole(Quality(coverage_fraction=0.5), Quality())),
            Trust.SCALE_OUT_ONLY,
            id="half-of-prefill-answers",
        ),
        pytest.param(
            replace(WELL, pool_quality=PerRole(Quality(coverage_fraction=0.9), Quality())),
            Trust.FULL,
            id="most-of-prefill-answers",
        ),
    ],
)
def test_trust_follows_the_rules(now: Observation, trust: Trust) -> None:
    assert judged(now).trust is trust


def test_old_signals_become_unknown_and_are_named() -> None:
    seen = judged(replace(WELL, pool_quality=PerRole(Quality(), Quality(age_seconds=90))))
    assert seen.running_requests == PerRole(4.0, None)
    assert seen.kv_usage_fraction is None
    assert "decode pods is 90 s old" in seen.problems[0]


@pytest.mark.parametrize(
    ("now", "numbers", "words"),
    [
        pytest.param(
            replace(WELL, requests_per_second=40.0), {}, "counted twice", id="doubled-count"
        ),
        pytest.param(replace(WELL, requests_per_second=5.0), {}, "bypass", id="uncounted-entrance"),
        pytest.param(
            WELL, {"prefill_tokens_per_second": 60_000.0}, "bypass", id="prefill-takes-more"
        ),
        pytest.param(
            WELL,
            {"prefill_tokens_per_second": 2_000.0},
            "misses pods",
            id="prefill-takes-less",
        ),
        pytest.param(
            replace(WELL, output_tokens_mean=1.0), {}, "prefill", id="output-of-one-token"
        ),
        pytest.param(
            replace(WELL, live_pods=PerRole(2.0, 4.0)),
            {"decode_reporting_pods": 5.0},
            "still answer",
            id="a-pod-that-is-gone",
        ),
        pytest.param(
            replace(WELL, live_pods=PerRole(2.0, 4.0)),
            {"decode_reporting_pods": 3.0},
            "only 3 of the 4 decode pods that answer show",
            id="a-pod-that-shows-nothing",
        ),
        pytest.param(
            replace(WELL, kv_usage_fraction=0.48, kv_usage_max_fraction=1.0),
            {},
            "unevenly routed",
            id="a-hot-decode-pod",
        ),
        pytest.param(
            replace(WELL, kv_usage_fraction=0.48, kv_usage_max_fraction=0.3),
            {},
            "different pods",
            id="a-maximum-below-the-mean",
        ),
        pytest.param(WELL, {"kv_usage_fraction": 45.0}, "no fraction", id="percent-for-fraction"),
    ],
)
def test_a_contradiction_is_named_and_stops_scale_in(
    now: Observation, numbers: dict[str, float], words: str
) -> None:
    seen = judged(now, **numbers)
    assert seen.trust is Trust.SCALE_OUT_ONLY
    assert words in " ".join(seen.problems)


DRAINED = replace(WELL, running_requests=PerRole(4.0, 1240.0))
QUEUED = replace(WELL, waiting_requests=PerRole(1202.0, 0.0))
ENDED = replace(
    WELL,
    requests_per_second=0.0,
    finished_per_second=0.0,
    waiting_requests=PerRole(0.0, 0.0),
    running_requests=PerRole(0.0, 0.0),
)


@pytest.mark.parametrize(
    ("now", "before", "prefill_tokens_per_second"),
    [
        # In 60 s prefill took 40 requests/s, of which 20 ended and 1,200 more are in decode.
        pytest.param(DRAINED, QUEUED, 40_000.0, id="decode-fills"),
        # The last 46 ended after the gauges were read and before the rates' window began.
        pytest.param(ENDED, WELL, 0.0, id="arrivals-end"),
    ],
)
def test_a_load_that_moves_is_no_contradiction(
    now: Observation, before: Observation, prefill_tokens_per_second: float
) -> None:
    seen = judged(now, before, prefill_tokens_per_second=prefill_tokens_per_second)
    assert seen.problems == ()


def test_pods_that_are_all_full_are_no_contradiction() -> None:
    full = replace(WELL, kv_usage_fraction=0.93, kv_usage_max_fraction=1.0)
    assert judged(full).trust is Trust.FULL


POOL_SIGNALS = {
    "prefill_waiting_requests": replace(WELL, waiting_requests=PerRole(None, 0.0)),
    "decode_waiting_requests": replace(WELL, waiting_requests=PerRole(2.0, None)),
    "prefill_running_requests": replace(WELL, running_requests=PerRole(None, 40.0)),
    "decode_running_requests": replace(WELL, running_requests=PerRole(4.0, None)),
    "kv_usage_fraction": replace(WELL, kv_usage_fraction=None),
}


@pytest.mark.parametrize(("name", "seen"), POOL_SIGNALS.items(), ids=POOL_SIGNALS)
def test_what_has_gone_missing_stops_scale_in_and_what_a_stack_lacks_does_not(
    name: str, seen: Observation
) -> None:
    missing = judged(seen)
    assert missing.trust is Trust.SCALE_OUT_ONLY
    assert missing.problems == (f"no data for {name}",)
    lacking = judged(seen, lacks=[name])
    assert lacking.trust is Trust.FULL
    assert lacking.problems == ()


@pytest.mark.parametrize(("name", "seen"), POOL_SIGNALS.items(), ids=POOL_SIGNALS)
def test_what_a_stack_lacks_needs_the_latency_that_would_show_it(
    name: str, seen: Observation
) -> None:
    latency = "ttft" if name.startswith("prefill") else "itl"
    blind = judged(replace(seen, **{latency: Latency()}), lacks=[name])
    assert blind.trust is Trust.SCALE_OUT_ONLY
    assert f"reports no {name}" in blind.problems[0]
    idle = replace(seen, requests_per_second=0.0, finished_per_second=0.0)
    quiet = replace(idle, **{latency: Latency()})
    assert judged(quiet, lacks=[name]).trust is Trust.FULL


def pool(ready: int) -> PoolState:
    return PoolState(desired_replicas=ready, ready_replicas=ready)


@pytest.mark.parametrize(
    ("live", "pools", "trust"),
    [
        pytest.param(PerRole(2.0, 5.0), PerRole(pool(2), pool(5)), Trust.FULL, id="all-answer"),
        pytest.param(
            PerRole(2.0, 3.0), PerRole(pool(2), pool(5)), Trust.SCALE_OUT_ONLY, id="two-unscraped"
        ),
        pytest.param(PerRole(2.0, 4.0), PerRole(pool(2), pool(5)), Trust.FULL, id="one-of-five"),
        pytest.param(PerRole(None, None), PerRole(pool(2), pool(5)), Trust.FULL, id="not-counted"),
        pytest.param(
            PerRole(2.0, 3.0), PerRole(pool(2), Unavailable("?")), Trust.FULL, id="pool-unknown"
        ),
        pytest.param(
            PerRole(8.0, 40.0), PerRole(pool(2), pool(5)), Trust.FULL, id="eight-pods-a-replica"
        ),
    ],
)
def test_pods_that_nobody_scrapes_stop_scale_in(
    live: PerRole[float | None], pools: Pools, trust: Trust
) -> None:
    seen = beside_pools(replace(WELL, live_pods=live), pools, QualitySettings())
    assert seen.trust is trust
    if trust is not Trust.FULL:
        assert "3 decode pods answer, but 5 replicas are ready" in seen.problems[0]


def test_pods_that_nobody_scrapes_give_no_more_trust_than_there_was() -> None:
    blind = replace(WELL, trust=Trust.NONE, live_pods=PerRole(1.0, 1.0))
    seen = beside_pools(blind, PerRole(pool(9), pool(9)), QualitySettings())
    assert seen.trust is Trust.NONE


def test_an_overload_is_no_contradiction() -> None:
    """20 of 40 requests/s end for a minute, and 1,200 pile up: hard times, but honest numbers."""
    overload = replace(
        WELL,
        requests_per_second=40.0,
        waiting_requests=PerRole(1202.0, 0.0),
    )
    assert judged(overload, before=WELL).trust is Trust.FULL


def test_a_stuck_queue_is_left_out() -> None:
    stuck = replace(
        WELL,
        requests_per_second=0.0,
        finished_per_second=0.0,
        waiting_requests=PerRole(7.0, 0.0),
        running_requests=PerRole(0.0, 0.0),
    )
    seen = judged(stuck)
    assert seen.waiting_requests == PerRole(None, 0.0)
    assert "stuck" in seen.problems[0]


def test_a_wrong_output_length_becomes_unknown() -> None:
    assert judged(replace(WELL, output_tokens_mean=1.0)).output_tokens_mean is None
