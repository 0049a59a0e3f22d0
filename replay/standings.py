"""Who did how well: runs put together by trace and policy, and set against the bound."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from replay.baselines.registry import BOUND
from replay.compare import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy on one trace, the mean over seeds.

    The bound of a trace is the cheapest schedule known to attain what the clairvoyant attained:
    its own, or a policy's run that was cheaper still. `gpu_hours_over_relaxed` is against the
    fluid model, which nothing real reaches. `*_at_objective` is at the headroom at which the
    policy just attains the objective; None without a sweep, or where it never does.
    """

    policy: str
    trace: str
    seeds: int
    attains: bool
    joint_attainment: float | None
    joint_attainment_min: float | None
    ttft_attainment: float | None
    itl_attainment: float | None
    ttft_p95_seconds: float | None
    itl_p95_seconds: float | None
    goodput_per_second: float | None
    gpu_hours: float
    gpu_hours_over_bound: float | None
    gpu_hours_over_relaxed: float | None
    scaling_events_per_hour: float
    p_d_ratio_mean: float | None
    requests: int
    unfinished_requests: int
    gpu_hours_at_objective: float | None = None
    gpu_hours_over_bound_at_objective: float | None = None
    headroom_at_objective: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def standings(runs: Sequence[Run]) -> list[Row]:
    """One row per trace and policy, in the order in which they first appear."""
    rows: list[Row] = []
    for trace in dict.fromkeys(run.case.workload.name for run in runs):
        ours = [run for run in runs if run.case.workload.name == trace]
        plain = unswept(ours)
        bound = bound_gpu_hours(plain)
        relaxed = _mean(run.relaxed_gpu_hours for run in plain)
        for policy in dict.fromkeys(run.case.policy for run in ours):
            swept = [run for run in ours if run.case.policy == policy]
            rows.append(_row([r for r in swept if r in plain], swept, bound, relaxed))
    return rows


def unswept(runs: Sequence[Run]) -> list[Run]:
    """Leave out of one trace's sweeps of a headroom what is not at 1; others stay as they are."""
    headrooms: dict[str, set[float]] = {}
    for run in runs:
        headrooms.setdefault(run.case.policy, set()).add(_headroom(run))
    return [run for run in runs if _headroom(run) == 1.0 or len(headrooms[run.case.policy]) == 1]


def bound_gpu_hours(runs: Sequence[Run]) -> float | None:
    """GPU-hours of the cheapest schedule known, the mean over seeds; None without a bound run.

    A run that attains what the clairvoyant did is a schedule too, so none of them is below it.
    """
    found = []
    for bound in (run for run in runs if run.case.policy == BOUND):
        attained = bound.score.joint_attainment or 0.0
        found.append(
            min(
                run.score.gpu_hours
                for run in runs
                if run.case.seed == bound.case.seed
                and (run is bound or (run.score.joint_attainment or 0.0) >= attained)
            )
        )
    return fmean(found) if found else None


def _row(
    runs: Sequence[Run], swept: Sequence[Run], bound: float | None, relaxed: float | None
) -> Row:
    scores = [run.score for run in runs]
    gpu_hours = fmean(score.gpu_hours for score in scores)
    case = runs[0].case
    objective = case.stage.settings.slo.attainment_fraction
    attained = _mean(score.joint_attainment for score in scores)
    at_objective = price_of_objective(swept, objective) if len(swept) > len(runs) else None
    headroom, price = at_objective or (None, None)
    return Row(
        policy=case.policy,
        trace=case.workload.name,
        seeds=len(runs),
        attains=attained is not None and attained >= objective,
        joint_attainment=attained,
        joint_attainment_min=min(
            (s.joint_attainment for s in scores if s.joint_attainment is not None), default=None
        ),
        ttft_attainment=_mean(score.ttft_attainment for score in scores),
        itl_attainment=_mean(score.itl_attainment for score in scores),
        ttft_p95_seconds=_mean(score.ttft_p95_seconds for score in scores),
        itl_p95_seconds=_mean(score.itl_p95_seconds for score in scores),
        goodput_per_second=_mean(score.goodput_per_second for score in scores),
        gpu_hours=gpu_hours,
        gpu_hours_over_bound=gpu_hours / bound if bound else None,
        gpu_hours_over_relaxed=gpu_hours / relaxed if relaxed else None,
        scaling_events_per_hour=fmean(run.scaling_events_per_hour for run in runs),
        p_d_ratio_mean=_mean(run.p_d_ratio_mean for run in runs),
        requests=round(fmean(score.requests for score in scores)),
        unfinished_requests=round(fmean(score.unfinished_requests for score in scores)),
        gpu_hours_at_objective=price,
        gpu_hours_over_bound_at_objective=price / bound if price and bound else None,
        headroom_at_objective=headroom,
    )


def price_of_objective(swept: Sequence[Run], objective: float) -> tuple[float, float] | None:
    """(headroom, GPU-hours) at which a policy just attains the objective, by interpolation.

    Between the largest headroom that fails below all that attain and the next one. When even the
    smallest attains, that one stands; None when the largest fails.
    """
    points = [
        (
            headroom,
            fmean(run.score.joint_attainment or 0.0 for run in runs),
            fmean(run.score.gpu_hours for run in runs),
        )
        for headroom, runs in sorted(_by_headroom(swept).items())
    ]
    attaining = [index for index, point in enumerate(points) if point[1] >= objective]
    if not attaining:
        return None
    first = attaining[0]
    headroom, attained, price = points[first]
    if first == 0:
        return headroom, price
    below_headroom, below_attained, below_price = points[first - 1]
    share = (objective - below_attained) / (attained - below_attained)
    return (
        below_headroom + share * (headroom - below_headroom),
        below_price + share * (price - below_price),
    )


def _by_headroom(runs: Iterable[Run]) -> dict[float, list[Run]]:
    found: dict[float, list[Run]] = {}
    for run in runs:
        found.setdefault(_headroom(run), []).append(run)
    return found


def _headroom(run: Run) -> float:
    return float(run.case.knobs.get("headroom", 1.0))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
