"""How far an observation may be followed: the rules for hold and partial trust, in one place.

| what is seen                                           | trust          | the planner   |
|--------------------------------------------------------|----------------|---------------|
| arrival rate unknown, or its newest sample too old     | none           | holds         |
| a pool's queue, running requests or KV use unknown     | scale-out only | may only add  |
| too few pods of a role answered                        | scale-out only | may only add  |
| two signals contradict each other                      | scale-out only | may only add  |
| else                                                   | full           | follows       |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydantic import Field, PositiveFloat

from planner.metrics.crosschecks import Evidence, findings
from policies.config import Section
from policies.types import (
    UNKNOWN_LATENCY,
    Observation,
    PerRole,
    Quality,
    Role,
    Trust,
)


class QualitySettings(Section):
    """When a signal is too old or too partial to act on."""

    max_age_seconds: PositiveFloat = Field(
        default=60.0, description="signals whose newest sample is older are unknown, seconds"
    )
    min_coverage_fraction: float = Field(
        default=0.8,
        ge=0.0,
        le=1.0,
        description="share of a role's pods that must answer before anything is scaled in",
    )


def judge(evidence: Evidence, settings: QualitySettings) -> Observation:
    """Drop what is too old or contradicted; say how far the rest may be followed and why."""
    seen = evidence.now
    seen, old = _without_old(seen, settings.max_age_seconds)
    found = findings(replace(evidence, now=seen))
    doubts = [*old, *_partial(seen, settings), *(finding.problem for finding in found)]
    trust = Trust.SCALE_OUT_ONLY if doubts or any(_gaps(seen)) else Trust.FULL
    for finding in found:
        seen = finding.leave_out(seen)
    if seen.requests_per_second is None:
        trust = Trust.NONE
    return replace(seen, trust=trust, problems=(*seen.problems, *doubts))


def _gaps(seen: Observation) -> Iterator[bool]:
    for role in Role:
        yield seen.waiting_requests[role] is None
        yield seen.running_requests[role] is None
    yield seen.kv_usage_fraction is None


def _partial(seen: Observation, settings: QualitySettings) -> Iterator[str]:
    for role, quality in seen.pool_quality.items():
        coverage = quality.coverage_fraction
        if coverage is not None and coverage < settings.min_coverage_fraction:
            yield (
                f"only {coverage:.0%} of the {role} pods answered their last scrape "
                f"(metrics.quality.min_coverage_fraction is {settings.min_coverage_fraction:g})"
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
