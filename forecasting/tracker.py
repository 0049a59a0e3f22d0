"""One series followed through time: values in, calibrated upper quantile out. Pure.

Per closed cell: extend the models, resolve the forecasts whose truth has come, choose, forecast.
Fitting happens elsewhere; its results come in through `with_fits`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from forecasting.alertness import CALM, Alertness
from forecasting.ensemble import CHOOSING, Choosing
from forecasting.events import NO_EVENTS, Calendar
from forecasting.forecast import Forecast
from forecasting.forecaster import CannotRun, Fit, Fitted, Refusal, fit, sane_path
from forecasting.last_value import LastValue
from forecasting.ledger import Ledger, Origin
from forecasting.log_scale import LogScale
from forecasting.plausible import Plausible
from forecasting.promise import Situation, promise
from forecasting.recent_peak import RecentPeak
from forecasting.series import Floats, Series
from forecasting.target import Target

ALWAYS = (LastValue(), RecentPeak())
"""Models that need no fitting, and so are there from the first value on."""

TWO_MINUTES_AHEAD = Target.of(lead_seconds=120.0, hold_seconds=300.0, step_seconds=60.0)
NOTHING_YET = Forecast.nothing("no value was seen yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerSettings:
    """What is forecast, how surely, from which models, and how much is remembered."""

    names: tuple[str, ...]
    step_seconds: float = 60.0
    target: Target = TWO_MINUTES_AHEAD
    fraction: float = 0.9
    choosing: Choosing = CHOOSING
    history_cells: int = 20_160
    evidence_rows: int = 720
    least_rows: int = 10
    events: Calendar = NO_EVENTS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tracker:
    """All that is known about one series up to its newest closed cell.

    `forecast` is as of that cell. `open_cell`, `total` and `count` are of the cell being filled.
    `plausible` knows the history's largest values.
    """

    settings: TrackerSettings
    history: Series
    plausible: Plausible
    ledger: Ledger
    alertness: Alertness = CALM
    models: Mapping[str, Fitted] = field(default_factory=dict)
    refusals: Mapping[str, CannotRun] = field(default_factory=dict)
    forecast: Forecast = NOTHING_YET
    open_cell: int | None = None
    total: float = 0.0
    count: int = 0

    @classmethod
    def fresh(cls, settings: TrackerSettings) -> Tracker:
        """Start without history."""
        return cls(
            settings=settings,
            history=Series(0.0, settings.step_seconds, np.zeros(0)),
            plausible=Plausible(),
            ledger=Ledger.empty(
                settings.names, settings.fraction, settings.target.last_step, settings.choosing
            ),
        )

    def update(self, now_seconds: float, value: float | None) -> Tracker:
        """Take in a sample; cells that end before `now_seconds` are closed with their mean.

        Unknown, infinite and negative values are no samples. A clock that steps back within the
        target's reach is waited for; beyond it, or after a gap longer than the history, all starts
        afresh, because times no longer mean what they did.
        """
        cell = math.floor(now_seconds / self.settings.step_seconds)
        if self.open_cell is None:
            start = cell * self.settings.step_seconds
            opened = replace(
                self, open_cell=cell, history=replace(self.history, start_seconds=start)
            )
            return _sampled(opened, value)
        passed = cell - self.open_cell
        reach = self.settings.target.last_step
        if passed < -reach or passed > self.settings.history_cells:
            return Tracker.fresh(self.settings).update(now_seconds, value)
        if passed < 0:
            return self
        if passed == 0:
            return _sampled(self, value)
        mean = self.total / self.count if self.count else math.nan
        cells = np.full(passed, np.nan)
        cells[0] = mean
        return _sampled(self.closed(cells), value)

    def closed(self, values: Floats) -> Tracker:
        """Take in whole cells, the newest last, and forecast from there."""
        settings = self.settings
        history = self.history.then(values).tail(settings.history_cells)
        plausible = self.plausible.after(values)
        seen = np.minimum(values, plausible.limit)
        models, paths = _extended(self.models, seen, history, settings.target)
        open_cell = (self.open_cell or 0) + len(values)
        ledger, alertness = self._learned(history, open_cell - 1)
        scale = LogScale.of_errors(history.values[-settings.evidence_rows :])
        alertness = alertness.after_cell(
            *self._surprises(scale, float(seen[-1])), settings.target, settings.fraction
        )
        lately = history.values[-settings.target.last_step - 1 :].tolist()
        if all(map(math.isnan, lately)):
            forecast = Forecast.nothing("no value was seen lately")
        else:
            situation = Situation(
                settings=settings,
                paths=paths,
                ledger=ledger,
                alertness=alertness,
                scale=scale,
                most=plausible.limit,
                start_seconds=open_cell * settings.step_seconds,
            )
            forecast, centres, uppers = promise(situation)
            ledger = ledger.with_open(Origin(open_cell - 1, centres, uppers, forecast.promised))
        return Tracker(
            settings=settings,
            history=history,
            plausible=plausible,
            ledger=ledger,
            alertness=alertness,
            models=models,
            refusals=self.refusals,
            forecast=forecast,
            open_cell=open_cell,
        )

    def _learned(self, history: Series, newest_cell: int) -> tuple[Ledger, Alertness]:
        """Learn from the forecasts whose window has passed by now."""
        settings, alertness = self.settings, self.alertness
        due = self.ledger.due(newest_cell - settings.target.last_step)
        if not due:
            return self.ledger, alertness
        first = newest_cell + 1 - len(history)
        truths = [settings.target.truth(history.values, origin.cell - first) for origin in due]
        for origin, truth in zip(due, truths, strict=True):
            if not (math.isnan(truth) or math.isnan(origin.upper)):
                alertness = alertness.after_outcome(truth > origin.upper)
        return self.ledger.resolved(due, truths, settings.evidence_rows), alertness

    def _surprises(self, scale: LogScale, newest: float) -> tuple[float, float]:
        """How far the newest value lies above what was expected of it, and above the one before.

        On the log scale, NaN where unknown.
        """
        if not (self.forecast.path and len(self.history)):
            return math.nan, math.nan
        compared = np.array([newest, self.forecast.path[0], self.history.values[-1]])
        seen, expected, before = scale.up(compared).tolist()
        return seen - expected, seen - before

    def with_fits(self, fits: Iterable[Fit]) -> Tracker:
        """Use newly fitted models from the next closed cell on; they catch up by what came since.

        A refusal takes its model out, and is kept to be shown.
        """
        models, refusals = dict(self.models), dict(self.refusals)
        for new in fits:
            refusals.pop(new.name, None)
            if new.name not in self.settings.names:
                continue
            outcome = new.outcome
            if not isinstance(outcome, CannotRun):
                since = self.plausible_history().since(new.end_seconds)
                outcome, _ = _caught_up(outcome, since, self.settings.target)
            if isinstance(outcome, CannotRun):
                models.pop(new.name, None)
                refusals[new.name] = outcome
            else:
                models[new.name] = outcome
        plausible = Plausible.of(self.history.values)
        return replace(self, models=models, refusals=refusals, plausible=plausible)

    def under(self, settings: TrackerSettings) -> Tracker:
        """The same past under other settings.

        Other events or models leave nothing to be learnt again but those models. Another target or
        quantile makes the evidence meaningless; other cells, the models and the open cell too.
        """
        if settings == self.settings:
            return self
        old = self.settings
        fresh = Tracker.fresh(settings)
        if settings.step_seconds != old.step_seconds:
            history = self.history.on_grid(settings.step_seconds).tail(settings.history_cells)
            if not len(history):
                return fresh
            opened = round(history.end_seconds / settings.step_seconds)
            plausible = Plausible.of(history.values)
            return replace(fresh, history=history, plausible=plausible, open_cell=opened)
        kept = replace(
            self,
            settings=settings,
            history=self.history.tail(settings.history_cells),
            models={name: one for name, one in self.models.items() if name in settings.names},
        )
        if (settings.target, settings.fraction) != (old.target, old.fraction):
            return replace(kept, models={}, ledger=fresh.ledger, alertness=CALM)
        return replace(kept, ledger=self.ledger.carried_into(fresh.ledger))

    def plausible_history(self) -> Series:
        """The history to fit to: one wild cell is cut to what is plausible."""
        limit = Plausible.of(self.history.values).limit
        return replace(self.history, values=np.minimum(self.history.values, limit))

    @property
    def newest_cell(self) -> int:
        """Number of the newest closed cell."""
        return (self.open_cell or 0) - 1


def _extended(
    models: Mapping[str, Fitted], values: Floats, history: Series, target: Target
) -> tuple[dict[str, Fitted], dict[str, Floats]]:
    """Models with the new cells taken in, and what each expects of the next ones.

    One that turns to nonsense drops out until it is fitted again.
    """
    grown: dict[str, Fitted] = {}
    paths: dict[str, Floats] = {}
    for always in ALWAYS:
        if always.name not in models:
            outcome = fit(always, history, target).outcome
            if not isinstance(outcome, CannotRun):
                grown[always.name] = outcome
                paths[always.name] = outcome.path(target.last_step)
    for name, model in models.items():
        caught_up, path = _caught_up(model, values, target)
        if not isinstance(caught_up, CannotRun):
            grown[name], paths[name] = caught_up, path
    return grown, paths


def _caught_up(model: Fitted, values: Floats, target: Target) -> tuple[Fitted | CannotRun, Floats]:
    """The model with the values taken in, and its path; a refusal where it gives no sane one.

    A model from outside must not stop the rest.
    """
    try:
        extended = model.extend(values)
        return extended, sane_path(extended, target.last_step)
    except Exception as error:  # noqa: BLE001 - see the docstring
        return CannotRun(Refusal.NONSENSE, f"{type(error).__name__}: {error}"), np.zeros(0)


def _sampled(tracker: Tracker, value: float | None) -> Tracker:
    if value is None or not 0 <= value < math.inf:
        return tracker
    return replace(tracker, total=tracker.total + value, count=tracker.count + 1)
