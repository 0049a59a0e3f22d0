"""A regular grid of values in time; a gap is NaN, never zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
        dropped = max(len(self.values) - points, 0)
        start = self.start_seconds + dropped * self.step_seconds
        return Series(start, self.step_seconds, self.values[dropped:])

    def then(self, values: Floats) -> Series:
        """The series with more cells at its end."""
        return Series(self.start_seconds, self.step_seconds, np.concatenate((self.values, values)))

    def since(self, seconds: float) -> Floats:
        """Values of the cells that begin at or after that time."""
        first = round((seconds - self.start_seconds) / self.step_seconds)
        return self.values[max(first, 0) :]

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
