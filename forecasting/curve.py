"""Known functions of time that a fitted level moves on top of."""

from __future__ import annotations

from dataclasses import dataclass
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
        waves = [np.ones(len(seconds))]
        for period, order in zip(periods_seconds, orders, strict=True):
            for k in range(1, order + 1):
                angle = 2 * np.pi * k * np.asarray(seconds) / period
                waves += [np.sin(angle), np.cos(angle)]
        return np.column_stack(waves)


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
        index = np.arange(len(self.values))
        return np.asarray(
            np.interp(place, index, self.values, period=len(index) if self.periodic else None)
        )
