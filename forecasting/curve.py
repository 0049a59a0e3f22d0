"""Known functions of time that a fitted level moves on top of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from forecasting.series import Floats


class Curve(Protocol):
    """A value for every instant."""

    def at(self, seconds: Floats) -> Floats:
        """Values at these times."""


@dataclass(frozen=True, slots=True)
class Flat:
    """Nothing but the level."""

    def at(self, seconds: Floats) -> Floats:
        """Zeros."""
        return np.zeros(len(seconds))


@dataclass(frozen=True, slots=True, eq=False)
class Fourier:
    """A constant and waves; `weights` has one entry per column of `columns`."""

    periods_seconds: tuple[float, ...]
    orders: tuple[int, ...]
    weights: Floats

    def at(self, seconds: Floats) -> Floats:
        """Value of the sum of waves."""
        return np.asarray(self.columns(seconds, self.periods_seconds, self.orders) @ self.weights)

    @staticmethod
    def columns(
        seconds: Floats, periods_seconds: tuple[float, ...], orders: tuple[int, ...]
    ) -> Floats:
        """A column of ones, then sine and cosine of each harmonic; shape (times, columns)."""
        turns = _turns_per_second(periods_seconds, orders)
        columns = np.ones((len(seconds), 1 + 2 * len(turns)))
        angles = np.asarray(seconds)[:, None] * turns
        np.sin(angles, out=columns[:, 1::2])
        np.cos(angles, out=columns[:, 2::2])
        return columns


@lru_cache(maxsize=256)
def _turns_per_second(periods_seconds: tuple[float, ...], orders: tuple[int, ...]) -> Floats:
    """Angular frequency of each harmonic, radians per second."""
    return np.array(
        [
            2 * np.pi * k / period
            for period, order in zip(periods_seconds, orders, strict=True)
            for k in range(1, order + 1)
        ]
    )


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Values at regular times, joined by straight lines; periodic, or flat beyond its ends."""

    start_seconds: float
    step_seconds: float
    values: Floats
    periodic: bool = False

    def at(self, seconds: Floats) -> Floats:
        """Interpolate."""
        place = (np.asarray(seconds) - self.start_seconds) / self.step_seconds
        count = len(self.values)
        if not self.periodic:
            place = np.minimum(np.maximum(place, 0.0), count - 1.0)
        before = np.floor(place)
        index = before.astype(np.int64) % count
        low = self.values[index]
        return np.asarray(low + (place - before) * (self.values[(index + 1) % count] - low))
