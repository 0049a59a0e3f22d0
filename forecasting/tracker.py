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
from forecasting.conformal import Adaptive, fading, raises
from forecasting.ensemble import CHOOSING, REFERENCE, Choosing, choose
from forecasting.events import NO_EVENTS, Calendar
from forecasting.forecast import Forecast, Mode
from forecasting.forecaster import CannotRun, Fit, Fitted, Outcome, Refusal, fit, sane_path
from forecasting.last_value import LastValue
from forecasting.ledger import Ledger, Origin
from forecasting.log_scale import LogScale
from forecasting.recent_peak import RecentPeak
from forecasting.series import Floats, Series, times
from forecasting.target import Target

ABSURD_FACTOR = 10.0
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
    """

    settings: TrackerSettings
    history: Series
    ledger: Ledger
    adaptive: Adaptive
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
            ledger=Ledger.empty(settings.names),
            adaptive=Adaptive.covering(settings.fraction),
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
        return _sampled(replace(self.closed(cells), total=0.0, count=0), value)

    def closed(self, values: Floats) -> Tracker:
        """Take in whole cells, the newest last, and forecast from there."""
        settings = self.settings
        history = self.history.then(values).tail(settings.history_cells)
        seen = np.minimum(values, largest_plausible(history.values))
        grown = replace(
            self,
            history=history,
            open_cell=(self.open_cell or 0) + len(values),
            models=_extended(self.models, seen, history, settings.target),
        )
        return _forecast(_watched(_resolved(grown), seen[-1:]))

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
                outcome = _caught_up(outcome, since, self.settings.target)
            if isinstance(outcome, CannotRun):
                models.pop(new.name, None)
                refusals[new.name] = outcome
            else:
                models[new.name] = outcome
        return replace(self, models=models, refusals=refusals)

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
            return replace(fresh, history=history, open_cell=opened)
        kept = replace(
            self,
            settings=settings,
            history=self.history.tail(settings.history_cells),
            models={name: one for name, one in self.models.items() if name in settings.names},
        )
        if (settings.target, settings.fraction) != (old.target, old.fraction):
            return replace(
                kept, models={}, ledger=fresh.ledger, adaptive=fresh.adaptive, alertness=CALM
            )
        return replace(kept, ledger=self.ledger.named(settings.names))

    def plausible_history(self) -> Series:
        """The history to fit to: one wild cell is cut to what is plausible."""
        cut = np.minimum(self.history.values, largest_plausible(self.history.values))
        return replace(self.history, values=cut)

    @property
    def newest_cell(self) -> int:
        """Number of the newest closed cell."""
        return (self.open_cell or 0) - 1


def largest_plausible(values: Floats) -> float:
    """Ten times the second largest value: a level must show twice to be believed.

    Infinite before two values above zero were seen, because nothing is known then.
    """
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return math.inf
    second = float(np.partition(known, -2)[-2])
    return ABSURD_FACTOR * second if second > 0 else math.inf


def _extended(
    models: Mapping[str, Fitted], values: Floats, history: Series, target: Target
) -> dict[str, Fitted]:
    """Models with the new cells taken in; one that turns to nonsense drops out until refitted."""
    grown: dict[str, Fitted] = {}
    for always in ALWAYS:
        if always.name not in models:
            outcome = fit(always, history, target).outcome
            if not isinstance(outcome, CannotRun):
                grown[always.name] = outcome
    for name, model in models.items():
        caught_up = _caught_up(model, values, target)
        if not isinstance(caught_up, CannotRun):
            grown[name] = caught_up
    return grown


def _caught_up(model: Fitted, values: Floats, target: Target) -> Outcome:
    """The model with the values taken in, or a refusal: one from outside must not stop the rest."""
    try:
        extended = model.extend(values)
        sane_path(extended, target.last_step)
    except Exception as error:  # noqa: BLE001 - see the docstring
        return CannotRun(Refusal.NONSENSE, f"{type(error).__name__}: {error}")
    return extended


def _sampled(tracker: Tracker, value: float | None) -> Tracker:
    if value is None or not 0 <= value < math.inf:
        return tracker
    return replace(tracker, total=tracker.total + value, count=tracker.count + 1)


def _resolved(tracker: Tracker) -> Tracker:
    """Learn from the forecasts whose window has passed by now."""
    target = tracker.settings.target
    due = tracker.ledger.due(tracker.newest_cell - target.last_step)
    if not due:
        return tracker
    first = tracker.newest_cell + 1 - len(tracker.history)
    truths = [target.truth(tracker.history.values, origin.cell - first) for origin in due]
    adaptive, alertness = tracker.adaptive, tracker.alertness
    for origin, truth in zip(due, truths, strict=True):
        if not (math.isnan(truth) or math.isnan(origin.upper)):
            missed = truth > origin.upper
            adaptive = adaptive.after(missed)
            alertness = alertness.after_outcome(missed)
    ledger = tracker.ledger.resolved(due, truths, tracker.settings.evidence_rows)
    return replace(tracker, ledger=ledger, adaptive=adaptive, alertness=alertness)


def _watched(tracker: Tracker, newest: Floats) -> Tracker:
    """Compare the newest value with what was expected of it."""
    expected = tracker.forecast.path[0] if tracker.forecast.path else math.nan
    scale = LogScale.of_errors(tracker.history.values[-tracker.settings.evidence_rows :])
    error = float((scale.up(newest) - scale.up(np.array([expected])))[0])
    alertness = tracker.alertness.after_cell(
        error, tracker.settings.target, tracker.adaptive.asked_fraction
    )
    return replace(tracker, alertness=alertness)


def _forecast(tracker: Tracker) -> Tracker:
    """Ask every model, blend the chosen ones and raise the blend to the quantile."""
    settings, last_step = tracker.settings, tracker.settings.target.last_step
    if np.isnan(tracker.history.values[-last_step - 1 :]).all():
        return replace(tracker, forecast=Forecast.nothing("no value was seen lately"))
    start_seconds = (tracker.newest_cell + 1) * settings.step_seconds
    ahead = times(start_seconds, settings.step_seconds, last_step)
    change = _event_ratio(tracker, ahead)
    paths = {name: model.path(last_step) * change for name, model in tracker.models.items()}
    centres = np.array(
        [settings.target.peak(paths[n]) if n in paths else math.nan for n in settings.names]
    )
    weights, mode, why = _weights(tracker, centres)
    scale = LogScale.of_errors(tracker.history.values[-settings.evidence_rows :])
    blended = [share * scale.up(paths[name]) for name, share in weights.items()]
    centre, raised = _centre_and_raise(tracker, centres, weights, scale)
    most = largest_plausible(tracker.history.values) * float(change.max())
    floor = settings.events.floor(ahead[settings.target.first_step - 1 :])
    upper = max(min(float(scale.down(scale.up(centre) + raised)), most), floor)
    forecast = Forecast(
        upper=upper,
        centre=min(float(centre), most),
        mode=mode,
        why=why,
        weights=weights,
        path=tuple(np.minimum(scale.down(np.sum(blended, axis=0)), most).tolist()),
    )
    promised = math.nan if mode is Mode.WARMING_UP else upper
    origin = Origin(tracker.newest_cell, centres, promised)
    return replace(tracker, forecast=forecast, ledger=tracker.ledger.with_open(origin))


def _weights(tracker: Tracker, centres: Floats) -> tuple[dict[str, float], Mode, str]:
    """Which models to blend, under which mode, and why."""
    rows = len(tracker.ledger.truths)
    if rows < tracker.settings.least_rows:
        why = f"{rows} forecasts have met their truth; it takes {tracker.settings.least_rows}"
        return {"recent_peak": 1.0}, Mode.WARMING_UP, why
    if tracker.alertness.reactive:
        return {REFERENCE: 1.0}, Mode.REACTIVE, tracker.alertness.why
    weights = choose(
        tracker.ledger.names,
        np.where(np.isnan(centres), np.nan, tracker.ledger.centres),
        tracker.ledger.truths,
        tracker.settings.fraction,
        tracker.settings.choosing,
    )
    if weights.keys() <= {always.name for always in ALWAYS}:
        return weights, Mode.REACTIVE, "no model beats the newest values by the margin"
    return weights, Mode.ENSEMBLE, "these models had the least loss lately"


def _centre_and_raise(
    tracker: Tracker, centres: Floats, weights: Mapping[str, float], scale: LogScale
) -> tuple[Floats, float]:
    """Blend of the centres, and how far to raise it on the log scale."""
    shares = np.array([weights.get(name, 0.0) for name in tracker.settings.names])
    used = shares > 0
    centre = scale.down(scale.up(centres[used]) @ shares[used])
    past = scale.up(tracker.ledger.centres[:, used]) @ shares[used]
    rows = ~np.isnan(past)
    if rows.sum() < tracker.settings.least_rows:
        return centre, 0.0
    scores = scale.up(tracker.ledger.truths[rows]) - past[rows]
    age = fading(len(past), tracker.settings.choosing.half_life_rows)[rows]
    return centre, float(raises(scores[:, None], age, tracker.adaptive.level)[0])


def _event_ratio(tracker: Tracker, ahead: Floats) -> Floats:
    """How much more events multiply the load then than they do now."""
    events = tracker.settings.events
    now = events.multiplier(ahead[:1] - tracker.settings.step_seconds)
    return events.multiplier(ahead) / now
