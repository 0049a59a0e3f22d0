"""Direct ridge regression of every step ahead on lags, the last cycles and waves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting.curve import Fourier
from forecasting.estimation import enough, estimated
from forecasting.forecaster import Outcome
from forecasting.log_scale import LogScale
from forecasting.seasonality import seasons
from forecasting.series import Floats, Series, filled
from forecasting.target import Target

_LAGS = 12
_MEANS = (12, 36)
_AROUND = 3  # cells before and after the same time in the last cycle
_LEAST_POINTS = 90
_ORDER = 3
_MOST_POINTS = 20_160
_PENALTIES = tuple(10.0**power for power in range(-2, 5))


Cells = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Design:
    """Which features are made of the past; all relative to the newest value."""

    step_seconds: float
    periods: tuple[int, ...]
    last_step: int

    @property
    def reach(self) -> int:
        """Cells of the past that a row of features needs."""
        return max((_LAGS, max(_MEANS), *(period + 2 + _AROUND for period in self.periods)))

    def rows(self, values: Floats, newest: Cells, end_seconds: float) -> Floats:
        """Features for origins at the indices `newest` of `values`, shape (origins, features)."""
        now = values[newest]
        columns = [values[newest - lag] - now for lag in range(1, _LAGS)]
        columns += [values[newest[:, None] - np.arange(n)].mean(axis=1) - now for n in _MEANS]
        for period in self.periods:
            then = values[newest - period]
            ahead = sorted({1, (1 + self.last_step) // 2, self.last_step})
            columns += [values[newest - period + min(k, period)] - then for k in ahead]
            columns += [then - now]
            # One cell of the last cycle is as noisy as the one to come; its neighbours are less.
            around = smoothed(values, newest - period, newest)
            columns += [smoothed(values, newest - period + k, newest) - around for k in ahead]
            columns += [around - now]
        seconds = np.asarray(end_seconds - (len(values) - newest) * self.step_seconds, np.float64)
        periods = tuple(period * self.step_seconds for period in self.periods)
        waves = Fourier.columns(seconds, periods, tuple(_ORDER for _ in periods))
        return np.column_stack((*columns, now, waves[:, 1:]))


def smoothed(values: Floats, cells: Cells, newest: Cells) -> Floats:
    """Mean of a few cells around each of `cells`, of none that is later than `newest`."""
    window = cells[:, None] + np.arange(-_AROUND, _AROUND + 1)
    return np.asarray(values[np.minimum(window, newest[:, None])].mean(axis=1))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Regression:
    """Weights for every step, and the stretch of the past that its features reach back to."""

    scale: LogScale
    design: Design
    weights: Floats
    centre: Floats
    offset: Floats
    values: Floats
    end_seconds: float

    def extend(self, values: Floats) -> Regression:
        """Append; an unknown value repeats the one before it."""
        joined = np.concatenate((self.values[-1:], self.scale.up(values)))
        known = np.maximum.accumulate(np.where(np.isnan(joined), 0, np.arange(len(joined))))
        kept = np.concatenate((self.values, joined[known][1:]))[-len(self.values) :]
        end_seconds = self.end_seconds + len(values) * self.design.step_seconds
        return replace(self, values=kept, end_seconds=end_seconds)

    def path(self, steps: int) -> Floats:
        """Each step by its own regression; steps beyond the target's repeat its last one."""
        newest = np.array([len(self.values) - 1], np.int64)
        row = self.design.rows(self.values, newest, self.end_seconds)[0]
        path = self.values[-1] + self.offset + (row - self.centre) @ self.weights
        index = np.minimum(np.arange(steps), len(path) - 1)
        return self.scale.down(path[index])


@dataclass(frozen=True, slots=True)
class LaggedRidge:
    """The change from the newest value, shrunk towards none; penalty by cross-validation."""

    name: str = "lagged_ridge"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Solve for all steps up to the target's last one at once."""
        recent = series.tail(_MOST_POINTS)
        return enough(recent, _LEAST_POINTS) or estimated(lambda: _fit(recent, target))


def _fit(series: Series, target: Target) -> Outcome:
    scale = LogScale.of(series.values)
    values = filled(scale.up(series.values))
    periods = tuple(round(period / series.step_seconds) for period in seasons(series))
    design = Design(series.step_seconds, periods, target.last_step)
    newest = np.arange(design.reach, len(values) - target.last_step, dtype=np.int64)
    rows = design.rows(values, newest, series.end_seconds)
    ahead = values[newest[:, None] + np.arange(1, target.last_step + 1)] - values[newest, None]
    seen = ~np.isnan(series.values[newest])
    rows, ahead = rows[seen], ahead[seen]
    centre, offset = rows.mean(axis=0), ahead.mean(axis=0)
    return Regression(
        scale=scale,
        design=design,
        weights=_ridge(rows - centre, ahead - offset),
        centre=centre,
        offset=offset,
        values=values[-design.reach - 2 :].copy(),
        end_seconds=series.end_seconds,
    )


def _ridge(rows: Floats, ahead: Floats) -> Floats:
    """Ridge weights with the penalty of least generalised cross-validation error."""
    spread = rows.std(axis=0)
    spread[spread < 1e-9] = np.inf  # a column that never varies gets weight 0
    left, size, right = np.linalg.svd(rows / spread, full_matrices=False)
    aligned = left.T @ ahead
    best_error, best = np.inf, np.zeros((rows.shape[1], ahead.shape[1]))
    for penalty in _PENALTIES:
        kept = size**2 / (size**2 + penalty)
        misfit = ahead - left @ (kept[:, None] * aligned)
        error = float((misfit**2).mean()) / (1 - kept.sum() / len(rows)) ** 2
        if error < best_error:
            shrunk = right.T @ ((size / (size**2 + penalty))[:, None] * aligned)
            best_error, best = error, shrunk / spread[:, None]
    return best
