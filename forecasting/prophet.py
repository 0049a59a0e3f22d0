"""Prophet as a slow seasonal component under a fast level; alone it trails even naive forecasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.curve import Table
from forecasting.estimation import enough, estimated
from forecasting.events import NO_EVENTS, Calendar
from forecasting.forecaster import CannotRun, Outcome
from forecasting.innovations import level_on
from forecasting.log_scale import LogScale
from forecasting.seasonality import DAY_SECONDS, WEEK_SECONDS, seasons_or_refusal
from forecasting.series import Series
from forecasting.target import Target

_CELLS_PER_DAY = 96
_MOST_CELLS = 4032
_AHEAD_DAYS = 2.0


@dataclass(frozen=True, slots=True)
class Prophet:
    """Trend, day, week and the holidays of `country` (an ISO code such as "DE"); extra `prophet`.

    Fitted on cells of 15 minutes or more; its curve reaches two days beyond the fit. Times are
    taken as seconds since 1970, UTC. What past `events` multiplied is divided out before the fit,
    so a campaign is no season; the calendar multiplies those to come into every model's path.
    """

    country: str | None = None
    events: Calendar = NO_EVENTS
    name: str = "prophet"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Fit the slow curve, then learn how quickly the level moves around it."""
        del target
        found = seasons_or_refusal(series)
        if isinstance(found, CannotRun):
            return found
        return enough(series) or estimated(lambda: _fit(series, found, self))


def _fit(series: Series, periods: tuple[float, ...], asked: Prophet) -> Outcome:
    import pandas as pd
    import prophet

    factor = max(int(DAY_SECONDS / series.step_seconds / _CELLS_PER_DAY), 1)
    coarse = series.coarsened(factor).tail(_MOST_CELLS)
    ordinary = np.divide(coarse.values, asked.events.multiplier(coarse.starts_seconds))
    scale = LogScale.of(series.values)
    model = prophet.Prophet(
        daily_seasonality=DAY_SECONDS in periods,
        weekly_seasonality=WEEK_SECONDS in periods,
        yearly_seasonality=False,
        uncertainty_samples=0,
    )
    if asked.country:
        model.add_country_holidays(country_name=asked.country)
    instants = pd.to_datetime(coarse.starts_seconds, unit="s")
    model.fit(pd.DataFrame({"ds": instants, "y": scale.up(ordinary)}))
    cells = len(coarse) + int(_AHEAD_DAYS * DAY_SECONDS / coarse.step_seconds)
    times = coarse.start_seconds + coarse.step_seconds * np.arange(cells)
    frame = model.predict(pd.DataFrame({"ds": pd.to_datetime(times, unit="s")}))
    middle = (coarse.step_seconds - series.step_seconds) / 2
    curve = Table(times[0] + middle, coarse.step_seconds, frame["yhat"].to_numpy())
    recent = series.tail(len(coarse) * factor)
    return level_on(curve, scale, recent.values, series.end_seconds, series.step_seconds)
