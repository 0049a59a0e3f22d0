"""How far an observation may be followed: the rules for hold and partial trust, in one place.

| what is seen                                           | trust          | the planner   |
|--------------------------------------------------------|----------------|---------------|
| arrival rate unknown, or its newest sample too old     | none           | holds         |
| a pool's queue, running requests or KV use is asked    | scale-out only | may only add  |
| for and unknown, or its newest sample too old          |                |               |
| the stack has no such signal, and no latency that      | scale-out only | may only add  |
| would show what it shows: TTFT, or ITL of decode       |                |               |
| too few pods of a role answered, or fewer than ready,  | scale-out only | may only add  |
| or too few of them show their queues                   |                |               |
| two signals contradict each other                      | scale-out only | may only add  |
| the metrics server warns that its answer lacks series  | scale-out only | may only add  |
| else                                                   | full           | follows       |

A signal that nothing is ever asked for is no loss of sight but a property of the stack, so it
alone never forbids to scale in for good.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydantic import Field, PositiveFloat

from planner.metrics.crosschecks import Evidence, findings
from planner.metrics.signals import SIGNALS, Origin
from policies.config import Section
from policies.types import (
    UNKNOWN_LATENCY,
    Observation,
    PerRole,
    Pools,
    PoolState,
    Quality,
    Role,
    Trust,
)


class QualitySettings(Section):
    """When a signal is too old or too partial to act on."""

    max_age_seconds: PositiveFloat = Field(
        default=60.0,
        le=3600.0,
        description="signals whose newest sample is older are unknown, seconds",
    )
    min_coverage_fraction: float = Field(
        default=0.8,
        ge=0.0,
        le=1.0,
        description="share of a role's pods that must answer before anything is scaled in",
    )


def judge(evidence: Evidence, settings: QualitySettings) -> Observation:
    """Drop what is too old or contradicted; say how far the rest may be followed and why."""
    doubts = [*evidence.doubts, *_gaps(evidence)]
    seen, old = _without_old(evidence.now, settings.max_age_seconds)
    found = findings(replace(evidence, now=seen))
    doubts += [
        *old,
        *_partial(seen, settings),
        *_silent(evidence, settings),
        *(finding.problem for finding in found),
    ]
    trust = Trust.SCALE_OUT_ONLY if doubts else Trust.FULL
    for finding in found:
        seen = finding.leave_out(seen)
    if seen.requests_per_second is None:
        trust = Trust.NONE
    return replace(seen, trust=trust, problems=(*seen.problems, *doubts))


def beside_pools(seen: Observation, pools: Pools, settings: QualitySettings) -> Observation:
    """Compare the pods that answer with the replicas that are ready.

    Coverage is of the pods that are known to be scraped. One that nobody scrapes is missing
    from it: of 5 ready replicas 3 are scraped and answer, so coverage is 100% and load 60%.
    """
    problems = tuple(
        f"{live:.0f} {role} pods answer, but {pool.ready_replicas} replicas are ready: pods are "
        f"not scraped, or metrics.{role}_pods misses them"
        for (role, live), pool in zip(seen.live_pods.items(), pools, strict=True)
        if live is not None
        and isinstance(pool, PoolState)
        and live < settings.min_coverage_fraction * pool.ready_replicas
    )
    if not problems:
        return seen
    trust = Trust.SCALE_OUT_ONLY if seen.trust is Trust.FULL else seen.trust
    return replace(seen, trust=trust, problems=(*seen.problems, *problems))


def stand_in(seen: Observation, name: str) -> float | None:
    """The latency that shows what a signal would: a queue at prefill as TTFT, at decode as ITL.

    With nothing arriving there is neither latency nor load, and nothing to be seen.
    """
    if seen.requests_per_second == 0:
        return 0.0
    of_decode = SIGNALS[name].origin is Origin.DECODE
    return (seen.itl if of_decode else seen.ttft).mean_seconds


def _gaps(evidence: Evidence) -> Iterator[str]:
    """Name what is unknown of the pools, unless a latency makes up for what the stack lacks."""
    seen = evidence.now
    values = {
        **{f"{role}_waiting_requests": seen.waiting_requests[role] for role in Role},
        **{f"{role}_running_requests": seen.running_requests[role] for role in Role},
        "kv_usage_fraction": seen.kv_usage_fraction,
    }
    missing = [name for name, value in values.items() if value is None]
    reading = evidence.reading
    asked = [name for name in missing if name in reading.unknown]
    if asked and len(reading.unknown) < len(reading.asked):  # else nothing at all is known
        yield f"no data for {', '.join(asked)}"
    blind = [name for name in missing if name not in reading.asked and stand_in(seen, name) is None]
    if blind:
        yield (
            f"the stack reports no {', '.join(blind)}, and the latencies that would show it "
            "instead are unknown"
        )


def _partial(seen: Observation, settings: QualitySettings) -> Iterator[str]:
    for role, quality in seen.pool_quality.items():
        coverage = quality.coverage_fraction
        if coverage is not None and coverage < settings.min_coverage_fraction:
            yield (
                f"only {coverage:.0%} of the {role} pods answered their last scrape "
                f"(metrics.quality.min_coverage_fraction is {settings.min_coverage_fraction:g})"
            )


def _silent(evidence: Evidence, settings: QualitySettings) -> Iterator[str]:
    """Pods that answer without showing what is summed: of 4 pods 3 show 30 requests, not 40."""
    for role, live in evidence.now.live_pods.items():
        showing = evidence.reading.number(f"{role}_reporting_pods")
        if live and showing is not None and showing < settings.min_coverage_fraction * live:
            yield (
                f"only {showing:.0f} of the {live:.0f} {role} pods that answer show how many "
                "requests they hold: the others run another version, or are no engines"
            )


def _without_old(seen: Observation, limit_seconds: float) -> tuple[Observation, list[str]]:
    problems = []

    def is_old(quality: Quality, who: str) -> bool:
        age = quality.age_seconds
        if age is None or age <= limit_seconds:
            return False
        limit = f"metrics.quality.max_age_seconds is {limit_seconds:g}"
        problems.append(f"the newest sample of {who} is {age:.0f} s old ({limit})")
        return True

    if is_old(seen.demand_quality, "what counts the arrivals"):
        seen = replace(
            seen,
            requests_per_second=None,
            arrival_dispersion=None,
            finished_per_second=None,
            input_tokens=None,
            output_tokens=None,
            output_tokens_mean=None,
            prefix_hit_fraction=None,
            ttft=UNKNOWN_LATENCY,
            itl=UNKNOWN_LATENCY,
        )
    old = PerRole.of(lambda role: is_old(seen.pool_quality[role], f"the {role} pods"))
    seen = replace(
        seen,
        waiting_requests=_blank(seen.waiting_requests, old),
        running_requests=_blank(seen.running_requests, old),
    )
    if old.decode:
        seen = replace(
            seen,
            kv_usage_fraction=None,
            kv_usage_max_fraction=None,
            kv_transfer_backlog_requests=None,
        )
    return seen, problems


def _blank(values: PerRole[float | None], old: PerRole[bool]) -> PerRole[float | None]:
    return PerRole.of(lambda role: None if old[role] else values[role])
