"""As in the last cycles at this time of day or week, moved to today's level."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forecasting.curve import Table
from forecasting.forecaster import CannotRun, Outcome
from forecasting.innovations import level_on
from forecasting.log_scale import LogScale
from forecasting.seasonality import seasons_or_refusal
from forecasting.series import Floats, Series, filled
from forecasting.target import Target

_CYCLES_AVERAGED = 3


@dataclass(frozen=True, slots=True)
class SeasonalNaive:
    """Mean of the last cycles of the longest period seen, under a level that follows quickly."""

    name: str = "seasonal_naive"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Learn how the newest cycle moved against those before it, then put it into the mean."""
        del target
        found = seasons_or_refusal(series)
        if isinstance(found, CannotRun):
            return found
        scale = LogScale.of(series.values)
        values = filled(scale.up(series.values))
        period = round(found[-1] / series.step_seconds)
        newest = values[-period:]
        before = self._cycle(series, values[:-period], period)
        level = level_on(before, scale, scale.down(newest), series.end_seconds, series.step_seconds)
        return replace(level, curve=self._cycle(series, values, period))

    @staticmethod
    def _cycle(series: Series, values: Floats, period: int) -> Table:
        cycles = min(len(values) // period, _CYCLES_AVERAGED)
        mean = values[len(values) - cycles * period :].reshape(cycles, period).mean(axis=0)
        start = series.start_seconds + (len(values) - period) * series.step_seconds
        return Table(start, series.step_seconds, np.asarray(mean), periodic=True)
