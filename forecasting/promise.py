"""From what every model says to one calibrated forecast: blend the chosen, raise, and bound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecasting.alertness import Alertness
from forecasting.conformal import Adaptive, fading, raised
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
    adaptive: Adaptive
    alertness: Alertness
    scale: LogScale
    most: float
    start_seconds: float


def promise(situation: Situation) -> tuple[Forecast, Floats]:
    """The forecast to decide by, and what each model alone would expect of the target."""
    settings, scale, paths = situation.settings, situation.scale, situation.paths
    target, most, floor = settings.target, situation.most, 0.0
    if settings.events.events:
        ahead = times(situation.start_seconds, settings.step_seconds, target.last_step)
        change = event_ratio(settings.events, ahead, settings.step_seconds)
        paths = {name: path * change for name, path in paths.items()}
        floor = settings.events.floor(ahead[target.first_step - 1 :])
        most *= float(change.max())
    centres = np.array([target.peak(paths[n]) if n in paths else math.nan for n in settings.names])
    weights, mode, why = _weights(situation, centres)
    blended = np.array(list(weights.values())) @ scale.up(np.array([paths[n] for n in weights]))
    centre, above = _centre_and_raise(situation, paths, weights)
    told = scale.down(np.concatenate(([centre + above, centre], blended)))
    upper, middle, *path = np.minimum(told, most).tolist()
    forecast = Forecast(
        upper=max(upper, floor), centre=middle, mode=mode, why=why, weights=weights,
        path=tuple(path),
    )  # fmt: skip
    return forecast, centres


def event_ratio(events: Calendar, ahead: Floats, step_seconds: float) -> Floats:
    """How much more events multiply the load then than they do now."""
    now = events.multiplier(ahead[:1] - step_seconds)
    return events.multiplier(ahead) / now


def _weights(situation: Situation, centres: Floats) -> tuple[dict[str, float], Mode, str]:
    """Which models to blend, under which mode, and why."""
    settings, ledger = situation.settings, situation.ledger
    rows = len(ledger.truths)
    if rows < settings.least_rows:
        why = f"{rows} forecasts have met their truth; it takes {settings.least_rows}"
        return {"recent_peak": 1.0}, Mode.WARMING_UP, why
    taking_part = ~np.isnan(centres)
    if situation.alertness.reactive:
        taking_part &= np.array([name in UNFITTED for name in ledger.names])
    weights = choose(
        ledger,
        taking_part,
        settings.fraction,
        settings.target.last_step,
        situation.scale,
        settings.choosing,
    )
    if situation.alertness.reactive:
        return weights, Mode.REACTIVE, situation.alertness.why
    if weights.keys() <= UNFITTED:
        return weights, Mode.REACTIVE, "no model beats the newest values by the margin"
    return weights, Mode.ENSEMBLE, "these models had the least loss lately"


def _centre_and_raise(
    situation: Situation, paths: Mapping[str, Floats], weights: Mapping[str, float]
) -> tuple[float, float]:
    """Blend of the centres on the log scale, and how far to raise it there.

    In forecasts that a model had no part in yet, the last value stands in for it.
    """
    ledger, scale, settings = situation.ledger, situation.scale, situation.settings
    shares = np.array(list(weights.values()))
    peaks = np.array([settings.target.peak(paths[name]) for name in weights])
    centre = float(scale.up(peaks) @ shares)
    if len(ledger.truths) < settings.least_rows:
        return centre, 0.0
    columns = [ledger.names.index(name) for name in weights]
    past = ledger.centres[:, columns]
    missing = np.isnan(past)
    if missing.any():
        past = np.where(missing, ledger.centres[:, [ledger.names.index(REFERENCE)]], past)
    scores = scale.up(ledger.truths) - scale.up(past) @ shares
    age = fading(len(scores), settings.choosing.half_life_rows)
    known = ~np.isnan(scores)
    if not known.all():
        scores, age = scores[known], age[known]
    if len(scores) < settings.least_rows:
        return centre, 0.0
    return centre, raised(scores, age, situation.adaptive.level)
