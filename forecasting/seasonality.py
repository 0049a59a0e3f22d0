"""Is there a daily or a weekly cycle? Detected from the values, never assumed."""

from __future__ import annotations

import numpy as np

from forecasting.forecaster import CannotRun, Refusal
from forecasting.log_scale import LogScale
from forecasting.recent import trailing_mean
from forecasting.series import Floats, Series

DAY_SECONDS = 86_400.0
WEEK_SECONDS = 7 * DAY_SECONDS
CYCLES_NEEDED = 2

_LEAST_CORRELATION = 0.2
_LEAST_LEAD_OVER_HALF = 0.1
_CELLS_PER_PERIOD = 168


def seasons(series: Series) -> tuple[float, ...]:
    """Periods in seconds with a visible cycle, shortest first.

    A cycle shows as correlation between values one period apart that is higher than between
    values half a period apart, once the mean of the period before each value is taken off; slow
    drift, which correlates at every lag, is no cycle. The week is looked for in what the mean day
    leaves unexplained.
    """
    found: list[float] = []
    for period in (DAY_SECONDS, WEEK_SECONDS):
        if _cycles(series, period) < CYCLES_NEEDED or period < 4 * series.step_seconds:
            continue
        cells = series.coarsened(max(int(period / series.step_seconds / _CELLS_PER_PERIOD), 1))
        values = LogScale.of(cells.values).up(cells.values)
        for shorter in found:
            values = values - _mean_cycle(values, round(shorter / cells.step_seconds))
        lag = round(period / cells.step_seconds)
        values = values - trailing_mean(cells.starts_seconds, values, period)
        whole, half = _correlation(values, lag), _correlation(values, lag // 2)
        if whole >= max(_LEAST_CORRELATION, half + _LEAST_LEAD_OVER_HALF):
            found.append(period)
    return tuple(found)


def seasons_or_refusal(series: Series) -> tuple[float, ...] | CannotRun:
    """Detected periods, or why a seasonal model cannot run."""
    found = seasons(series)
    if found:
        return found
    cycles = _cycles(series, DAY_SECONDS)
    if cycles < CYCLES_NEEDED:
        return CannotRun(
            Refusal.TOO_SHORT,
            f"{cycles:.1f} days of history; a daily cycle takes {CYCLES_NEEDED} to be seen",
        )
    return CannotRun(Refusal.NO_SEASON, "neither a daily nor a weekly cycle in the history")


def _cycles(series: Series, period_seconds: float) -> float:
    known = int(np.count_nonzero(~np.isnan(series.values)))
    return known * series.step_seconds / period_seconds


def _correlation(values: Floats, lag: int) -> float:
    """Correlation of values `lag` cells apart, over the pairs that are both known."""
    if lag < 1 or len(values) <= lag + 2:
        return 0.0
    early, late = values[:-lag], values[lag:]
    both = ~(np.isnan(early) | np.isnan(late))
    early, late = early[both], late[both]
    if len(early) < 3 or early.std() < 1e-9 or late.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(early, late)[0, 1])


def _mean_cycle(values: Floats, period: int) -> Floats:
    """The mean at each phase, repeated along the series; phases never seen take the mean."""
    phase = np.arange(len(values)) % period
    known = ~np.isnan(values)
    count = np.bincount(phase[known], minlength=period)
    total = np.bincount(phase[known], weights=values[known], minlength=period)
    means = np.full(period, values[known].mean() if known.any() else 0.0)
    np.divide(total, count, out=means, where=count > 0)
    return means[phase]
