"""What a decision is held to on each kind of workload, and whether a run meets it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from replay.compare import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """Least attainment, or how far below the ceiling it may be; most GPU-hours over the bound.

    `drain_startups`: a backlog must be gone this many start-up times after the excess.
    """

    attainment: float | None = None
    below_ceiling: float | None = None
    over_bound: float
    drain_startups: float | None = None

    def __str__(self) -> str:
        least = (
            f">= {self.attainment:.1%}"
            if self.attainment is not None
            else f">= ceiling - {100 * (self.below_ceiling or 0.0):g} points"
        )
        drained = f", drained in {self.drain_startups:g} start-ups" if self.drain_startups else ""
        return f"{least} at <= {self.over_bound:g} x bound{drained}"


SMOOTH = Criterion(attainment=0.99, over_bound=1.12)
LONG_ANSWERS = Criterion(attainment=0.985, over_bound=1.25)
BURSTS = Criterion(below_ceiling=0.01, over_bound=1.5, drain_startups=2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What a run is set against; None is not known, and then nothing is held against it."""

    bound_gpu_hours: float | None = None
    bound_attainment: float | None = None
    ceiling_attainment: float | None = None
    hpa_events_per_hour: float | None = None


def failures(run: Run, criterion: Criterion, against: Against) -> list[str]:
    """What is not met, in words; empty when all is."""
    return [*_served(run, criterion, against), *_steady(run, against)]


def unknown(criterion: Criterion, against: Against) -> list[str]:
    """What could not be judged, for want of the other run."""
    missing = []
    if against.bound_gpu_hours is None:
        missing.append("bound")
    if criterion.below_ceiling is not None and against.ceiling_attainment is None:
        missing.append("ceiling")
    if against.hpa_events_per_hour is None:
        missing.append("hpa")
    return missing


def _served(run: Run, criterion: Criterion, against: Against) -> Iterator[str]:
    attained = run.score.joint_attainment or 0.0
    least = criterion.attainment
    if least is not None and against.bound_attainment is not None:
        least = min(least, against.bound_attainment)  # prompts may be too long for the objective
    if criterion.below_ceiling is not None and against.ceiling_attainment is not None:
        least = against.ceiling_attainment - criterion.below_ceiling
    if least is not None and attained < least:
        yield f"attains {attained:.2%} < {least:.2%}"
    if against.bound_gpu_hours:
        over = run.score.gpu_hours / against.bound_gpu_hours
        if over > criterion.over_bound:
            yield f"{over:.2f} > {criterion.over_bound:g} x bound"
    if criterion.drain_startups is not None:
        startup = max(role.startup_seconds for role in run.case.stage.settings.roles)
        most = criterion.drain_startups * startup
        if run.drain_seconds > most:
            yield f"drains in {run.drain_seconds:.0f} > {most:.0f} s"


def _steady(run: Run, against: Against) -> Iterator[str]:
    most = against.hpa_events_per_hour
    if most is not None and run.scaling_events_per_hour > most:
        yield f"{run.scaling_events_per_hour:.1f} > {most:.1f} events/h of hpa"
    if run.flaps:
        yield f"{run.flaps} flaps"
