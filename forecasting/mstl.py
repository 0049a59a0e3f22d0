"""Multiple seasonal-trend decomposition by Loess (statsmodels MSTL) under a fast level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.curve import Table
from forecasting.estimation import enough, estimated
from forecasting.forecaster import CannotRun, Outcome
from forecasting.innovations import level_on
from forecasting.log_scale import LogScale
from forecasting.seasonality import DAY_SECONDS, seasons_or_refusal
from forecasting.series import Series, filled
from forecasting.target import Target

_CELLS_PER_DAY = 96
_MOST_CELLS = 2880


@dataclass(frozen=True, slots=True)
class Mstl:
    """The newest cycle of the decomposition, on cells of 15 minutes or more to stay affordable.

    A week at one minute takes 37 s as it is, and about 1 s coarsened.
    """

    name: str = "mstl"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Decompose, then learn how quickly the level moves around the cycle."""
        del target
        found = seasons_or_refusal(series)
        if isinstance(found, CannotRun):
            return found
        return enough(series) or estimated(lambda: _fit(series, found))


def _fit(series: Series, periods: tuple[float, ...]) -> Outcome:
    from statsmodels.tsa.seasonal import MSTL

    factor = max(int(DAY_SECONDS / series.step_seconds / _CELLS_PER_DAY), 1)
    coarse = series.coarsened(factor).tail(_MOST_CELLS)
    cells = tuple(round(period / coarse.step_seconds) for period in periods)
    whole = tuple(count for count in cells if 2 * count <= len(coarse))
    scale = LogScale.of(series.values)
    result = MSTL(filled(scale.up(coarse.values)), periods=whole).fit()
    seasonal = np.asarray(result.seasonal).reshape(len(coarse), -1).sum(axis=1)
    newest = len(coarse) - whole[-1]
    start = coarse.start_seconds + newest * coarse.step_seconds
    middle = (coarse.step_seconds - series.step_seconds) / 2  # a coarse cell speaks for its middle
    curve = Table(start + middle, coarse.step_seconds, seasonal[newest:], periodic=True)
    recent = series.values[-whole[-1] * factor :]
    return level_on(curve, scale, recent, series.end_seconds, series.step_seconds)
