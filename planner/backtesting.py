"""One recorded series through the live forecasting procedure, scored and timed per model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from forecasting.backtest import ENSEMBLE, Step, follow, scores
from forecasting.forecast import Mode
from forecasting.forecaster import CannotRun, Fit, Forecaster
from forecasting.series import Series
from forecasting.target import Target
from forecasting.tracker import Tracker, TrackerSettings
from planner.clock import Stopwatch
from planner.fitting import timed_fit
from planner.recorded import Recorded

_TIMED_UPDATES = 20
_LEAST_REFIT_CELLS = 24
_REFITS_PER_SERIES = 10
_SHORT_CELL_SECONDS = 60.0
_LEAD_SECONDS, _SHORT_LEAD_SECONDS = 600.0, 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to backtest. Without a lead: 600 s, or 120 s on cells of less than a minute."""

    forecasters: tuple[Forecaster, ...]
    lead_seconds: float | None = None
    hold_seconds: float = 0.0
    fraction: float = 0.9
    refit_seconds: float = 12 * 3600.0
    unscored_fraction: float = 0.3

    def settings(self, series: Series) -> TrackerSettings:
        """The tracker's settings for a series."""
        step = series.step_seconds
        usual = _LEAD_SECONDS if step >= _SHORT_CELL_SECONDS else _SHORT_LEAD_SECONDS
        lead = usual if self.lead_seconds is None else self.lead_seconds
        return TrackerSettings(
            names=tuple(one.name for one in self.forecasters),
            step_seconds=step,
            target=Target.of(lead, self.hold_seconds, step),
            fraction=self.fraction,
        )

    def refit_cells(self, series: Series) -> int:
        """Cells between refits: as asked, at least 24, and ten times or more per series."""
        asked = max(round(self.refit_seconds / series.step_seconds), _LEAST_REFIT_CELLS)
        return max(min(asked, len(series) // _REFITS_PER_SERIES), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Rows for people and machines, and the forecasts that they sum up."""

    name: str
    rows: list[dict[str, object]]
    steps: list[Step]
    refusals: Mapping[str, CannotRun]

    @property
    def weights(self) -> dict[str, float]:
        """Mean share of each model in the ensemble."""
        return _mean_weights(self.steps)

    def weights_over_time(self, stretches: int) -> list[dict[str, float]]:
        """Mean shares over as many stretches of equal length, in time order."""
        bounds = np.linspace(0, len(self.steps), stretches + 1).astype(int).tolist()
        parts = (self.steps[a:b] for a, b in pairwise(bounds))
        return [_mean_weights(part) for part in parts if part]


def _mean_weights(steps: list[Step]) -> dict[str, float]:
    total: defaultdict[str, float] = defaultdict(float)
    for step in steps:
        for name, share in step.tracker.forecast.weights.items():
            total[name] += share / len(steps)
    return dict(sorted(total.items(), key=lambda item: -item[1]))


def evaluate(recorded: Recorded, plan: Plan) -> Result | None:
    """Backtest one series; None when it ends within the lead or while the tracker warms up."""
    series = recorded.series
    settings = plan.settings(series)
    if settings.target.last_step >= len(series):
        return None
    fit_seconds: dict[str, list[float]] = {}

    def fit_all(known: Series) -> list[Fit]:
        done = [timed_fit(one, known, settings.target) for one in plan.forecasters]
        for timed in done:
            fit_seconds.setdefault(timed.fit.name, []).append(timed.seconds)
        return [timed.fit for timed in done]

    first_cell = int(plan.unscored_fraction * len(series))
    steps = follow(series, settings, fit_all, plan.refit_cells(series))
    if not steps or steps[-1].tracker.forecast.mode is Mode.WARMING_UP:
        return None
    newest = steps[-1].tracker
    seconds = {name: float(np.mean(taken)) for name, taken in fit_seconds.items()}
    seconds[ENSEMBLE] = sum(seconds.values())
    updates = _update_milliseconds(newest)
    rows = [
        {
            "series": recorded.name,
            **asdict(score),
            "fit_seconds": seconds.get(score.model, 0.0),
            "update_milliseconds": updates.get(score.model, 0.0),
        }
        for score in scores(series, steps, first_cell)
    ]
    return Result(name=recorded.name, rows=rows, steps=steps, refusals=newest.refusals)


def _update_milliseconds(tracker: Tracker) -> dict[str, float]:
    """Time to take in one cell and forecast, per model and for the whole tracker."""
    value = tracker.history.values[-1:]
    last_step = tracker.settings.target.last_step
    taken = {}
    for name, model in tracker.models.items():
        watch = Stopwatch()
        for _ in range(_TIMED_UPDATES):
            model.extend(value).path(last_step)
        taken[name] = watch.seconds / _TIMED_UPDATES * 1000
    watch = Stopwatch()
    following = tracker
    for _ in range(_TIMED_UPDATES):
        following = following.closed(value)
    taken[ENSEMBLE] = watch.seconds / _TIMED_UPDATES * 1000
    return taken
