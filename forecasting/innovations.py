"""One state for exponential smoothing, ARIMA and structural models: the innovations form.

    y(t) = Z a(t) + curve(t) + e(t)        a(t+1) = T a(t) + K e(t)

Hyndman et al., "Forecasting with Exponential Smoothing", 2008, chapter 2. The families differ only
in how they estimate T, Z, K and the curve; taking in a value is a small product for all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from forecasting.curve import Curve
from forecasting.log_scale import LogScale
from forecasting.series import Floats, times


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Innovations:
    """A fitted linear filter on the log scale, standing at the end of the values it has seen."""

    scale: LogScale
    curve: Curve
    transition: Floats
    design: Floats
    gain: Floats
    state: Floats
    end_seconds: float
    step_seconds: float

    def extend(self, values: Floats) -> Innovations:
        """Filter the values; an unknown one moves the state on without news."""
        seen = self.scale.up(values) - self.curve.at(self._starts(len(values)))
        state = self.state
        for value in seen.tolist():
            moved = self.transition @ state
            state = (
                moved if math.isnan(value) else moved + self.gain * (value - self.design @ state)
            )
        end_seconds = self.end_seconds + len(values) * self.step_seconds
        return replace(self, state=state, end_seconds=end_seconds)

    def path(self, steps: int) -> Floats:
        """Let the state run on without news."""
        levels = _ahead(self.transition.tobytes(), self.design.tobytes(), steps) @ self.state
        return self.scale.down(levels + self.curve.at(self._starts(steps)))

    def _starts(self, count: int) -> Floats:
        return times(self.end_seconds, self.step_seconds, count)


@lru_cache(maxsize=4096)
def _ahead(transition: bytes, design: bytes, steps: int) -> Floats:
    """What a state says of each of the next cells: rows Z, Z T, Z T^2 and so on."""
    row = np.frombuffer(design)
    step = np.frombuffer(transition).reshape(len(row), len(row))
    rows = []
    for _ in range(steps):
        rows.append(row)
        row = row @ step
    return np.array(rows)


def level_on(
    curve: Curve, scale: LogScale, values: Floats, end_seconds: float, step_seconds: float
) -> Innovations:
    """A level that follows the values quickly on top of a slow curve.

    The level is an exponentially weighted mean of the distance to the curve and decays towards it;
    the pair of smoothing and decay with the least squared one-step error is taken.
    """
    starts = times(end_seconds - len(values) * step_seconds, step_seconds, len(values))
    distance = np.subtract(scale.up(values), curve.at(starts))
    choices = [(rate, keep) for rate in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0) for keep in (0.9, 0.97, 1.0)]
    rates, keeps = np.array(choices).T
    levels, squares = np.zeros(len(choices)), np.zeros(len(choices))
    for value in distance[~np.isnan(distance)]:
        errors = value - keeps * levels
        squares += errors**2
        levels = keeps * levels + rates * errors
    best = int(np.argmin(squares))
    return Innovations(
        scale=scale,
        curve=curve,
        transition=np.array([[keeps[best]]]),
        design=np.array([keeps[best]]),
        gain=np.array([rates[best]]),
        state=np.array([levels[best]]),
        end_seconds=end_seconds,
        step_seconds=step_seconds,
    )
