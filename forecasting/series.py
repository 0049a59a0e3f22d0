"""A regular grid of values in time; a gap is NaN, never zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Means over cells of `step_seconds`; `start_seconds` is where the first cell begins."""

    start_seconds: float
    step_seconds: float
    values: Floats

    def __post_init__(self) -> None:
        if not self.step_seconds > 0:
            raise ValueError(f"step_seconds is {self.step_seconds}; it must be above 0")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def end_seconds(self) -> float:
        """Where the last cell ends."""
        return self.start_seconds + len(self.values) * self.step_seconds

    @property
    def starts_seconds(self) -> Floats:
        """Where each cell begins."""
        return times(self.start_seconds, self.step_seconds, len(self.values))

    def tail(self, points: int) -> Series:
        """The newest cells, at most `points` of them."""
        dropped = len(self.values) - points
        if dropped <= 0:
            return self
        start = self.start_seconds + dropped * self.step_seconds
        return Series(start, self.step_seconds, self.values[dropped:])

    def then(self, values: Floats) -> Series:
        """The series with more cells at its end."""
        return Series(self.start_seconds, self.step_seconds, np.concatenate((self.values, values)))

    def since(self, seconds: float) -> Floats:
        """Values of the cells that begin at or after that time."""
        first = round((seconds - self.start_seconds) / self.step_seconds)
        return self.values[max(first, 0) :]

    def on_grid(self, step_seconds: float) -> Series:
        """The same values as means over other cells, aligned to time 0, as far as they are whole.

        Cells are sampled once per old or new cell, whichever is shorter: 20 s cells give 30 s cells
        the mean of the two values at 5 s and 20 s.
        """
        if step_seconds == self.step_seconds:
            return self
        first = math.ceil(self.start_seconds / step_seconds)
        count = max(math.floor(self.end_seconds / step_seconds) - first, 0)
        per_cell = max(math.ceil(step_seconds / self.step_seconds), 1)
        fine = times(
            (first + 0.5 / per_cell) * step_seconds, step_seconds / per_cell, count * per_cell
        )
        old = ((fine - self.start_seconds) // self.step_seconds).astype(np.int64)
        values = self.values[np.clip(old, 0, max(len(self) - 1, 0))] if count else np.zeros(0)
        return Series(first * step_seconds, step_seconds / per_cell, values).coarsened(per_cell)

    def coarsened(self, factor: int) -> Series:
        """Means over `factor` cells each, counted from the end; an odd rest is dropped."""
        used = len(self.values) // factor * factor
        blocks = self.tail(used)
        grid = blocks.values.reshape(-1, factor)
        known = ~np.isnan(grid)
        count = known.sum(axis=1)
        means = np.full(len(grid), np.nan)
        np.divide(np.where(known, grid, 0.0).sum(axis=1), count, out=means, where=count > 0)
        return Series(blocks.start_seconds, self.step_seconds * factor, means)


def times(start_seconds: float, step_seconds: float, count: int) -> Floats:
    """Starts of `count` cells."""
    return np.asarray(start_seconds + step_seconds * np.arange(count), np.float64)


def filled(values: Floats) -> Floats:
    """Gaps bridged by straight lines, ends by the nearest value; needs one known value."""
    known = ~np.isnan(values)
    if known.all():
        return values
    index = np.arange(len(values))
    return np.interp(index, index[known], values[known])
