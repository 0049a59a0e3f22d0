"""From what every model says to one calibrated forecast: blend the chosen, raise, and bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecasting.alertness import Alertness
from forecasting.conformal import CALIBRATIONS, fading, raised
from forecasting.ensemble import REFERENCE, UNFITTED, choose
from forecasting.events import Calendar
from forecasting.forecast import Forecast, Mode
from forecasting.ledger import Ledger
from forecasting.log_scale import LogScale
from forecasting.series import Floats, times

if TYPE_CHECKING:
    from forecasting.tracker import TrackerSettings


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Situation:
    """All that a forecast is made from; `start_seconds` is where its first cell begins."""

    settings: TrackerSettings
    paths: Mapping[str, Floats]
    ledger: Ledger
    alertness: Alertness
    scale: LogScale
    most: float
    start_seconds: float


def promise(situation: Situation) -> tuple[Forecast, Floats, Floats]:
    """The forecast to decide by, and what each model alone expects of the target and promises.

    The promises are of shape (calibrations, models), NaN while too little is known to make one.
    """
    settings, scale, paths = situation.settings, situation.scale, situation.paths
    target, most, floor = settings.target, situation.most, 0.0
    if settings.events.events:
        cells = times(situation.start_seconds, settings.step_seconds, target.last_step)
        change = event_ratio(settings.events, cells, settings.step_seconds)
        paths = {name: path * change for name, path in paths.items()}
        floor = settings.events.floor(cells[target.first_step - 1 :])
        most *= float(change.max())
    peaks = {name: target.peak(path) for name, path in paths.items()}
    centres = np.array([peaks.get(name, math.nan) for name in settings.names])
    uppers = _uppers(situation, centres)
    weights, upper, mode, why = _chosen(situation, peaks, centres, uppers)
    shares = np.array(list(weights.values()))
    ahead = np.array([(peaks[name], *paths[name].tolist()) for name in weights])
    told = scale.down(shares @ scale.up(ahead))
    middle, *path = np.minimum(told, most).tolist()
    forecast = Forecast(
        upper=max(min(upper, most), floor),
        centre=middle,
        mode=mode,
        why=why,
        weights=weights,
        path=tuple(path),
    )
    return forecast, centres, uppers


def event_ratio(events: Calendar, ahead: Floats, step_seconds: float) -> Floats:
    """How much more events multiply the load then than they do now."""
    now = events.multiplier(ahead[:1] - step_seconds)
    return events.multiplier(ahead) / now


def _uppers(situation: Situation, centres: Floats) -> Floats:
    """Raise the centres by quantiles of each model's own errors.

    In forecasts that a model had no part in, the last value stands in for it.
    """
    settings, ledger, scale = situation.settings, situation.ledger, situation.scale
    if len(ledger.truths) < settings.least_rows:
        return np.full((CALIBRATIONS, len(centres)), np.nan)
    made = np.vstack((ledger.centres, centres)).T
    stand_in = made[ledger.names.index(REFERENCE)]
    logs = scale.up(np.where(np.isnan(made), stand_in, made))
    scores = scale.up(ledger.truths) - logs[:, :-1]
    return scale.down(logs[:, -1] + raised(scores, fading(len(ledger.truths)), ledger.levels))


def _chosen(
    situation: Situation, peaks: Mapping[str, float], centres: Floats, uppers: Floats
) -> tuple[dict[str, float], float, Mode, str]:
    """Which models to blend, what they promise together, under which mode, and why."""
    settings, ledger, alertness = situation.settings, situation.ledger, situation.alertness
    rows = len(ledger.truths)
    if rows < settings.least_rows:
        why = f"{rows} forecasts have met their truth; it takes {settings.least_rows}"
        return {"recent_peak": 1.0}, peaks["recent_peak"], Mode.WARMING_UP, why
    names, scale = ledger.names, situation.scale
    taking_part = ~np.isnan(centres)
    if alertness.reactive:
        taking_part &= np.array([name in UNFITTED for name in names])
    shares = choose(ledger.evidence, names, taking_part, settings.choosing)
    upper = float(scale.down((shares * scale.up(uppers)).sum()))
    by_model = zip(names, shares.sum(axis=0).tolist(), strict=True)
    weights = {name: share for name, share in by_model if share > 0}
    if alertness.reactive:
        return weights, upper, Mode.REACTIVE, alertness.why
    if weights.keys() <= UNFITTED:
        why = "no model beats the newest values by the margin"
        return weights, upper, Mode.REACTIVE, why
    return weights, upper, Mode.ENSEMBLE, "these models had the least loss lately"
