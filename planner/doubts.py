"""Settings that each are possible and together make little sense: told, and not refused."""

from __future__ import annotations

from collections.abc import Iterator

from planner.config import Config
from planner.metrics.config import SourceKind

# Prometheus scrapes every minute unless told otherwise, and most fleets every 15 s: a window below
# 30 s holds two scrapes of hardly any of them, and no rate.
_LEAST_WINDOW_SECONDS = 30.0


def doubts(config: Config) -> Iterator[str]:
    """Say of each what it leads to, and what would be right."""
    tick, deadline = config.tick_seconds, config.deadline_seconds
    if deadline > tick:
        yield (
            f"deadline_seconds is {deadline:g} and tick_seconds {tick:g}: whoever is slow to "
            "answer costs the ticks that it overruns; a deadline below the tick costs none"
        )
    metrics = config.metrics
    for name, one in {
        "metrics.deadline_seconds": metrics.deadline_seconds,
        "workload.kubernetes.deadline_seconds": config.workload.kubernetes.deadline_seconds,
    }.items():
        if one >= deadline:
            yield (
                f"{name} is {one:g} and deadline_seconds {deadline:g}: one slow request leaves "
                f"nothing of what the others answered; {name} belongs below deadline_seconds"
            )
    if metrics.source is SourceKind.PROMETHEUS:
        for name, one in {
            "window_seconds": metrics.window_seconds,
            "quality.max_age_seconds": metrics.quality.max_age_seconds,
        }.items():
            if one < _LEAST_WINDOW_SECONDS:
                yield (
                    f"metrics.{name} is {one:g}: of a server that scrapes every 15 s or less "
                    "often, most signals will be unknown; give at least 4 scrape intervals"
                )
    for role, settings in config.policy.roles.items():
        if settings.startup_seconds == 0:
            yield (
                f"policy.{role}.startup_seconds is 0: until a start was measured nothing is "
                "planned ahead, as if replicas served at once; give the time from scale-up to ready"
            )
