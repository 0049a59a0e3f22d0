"""A regular time series in which a gap is NaN and never zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """Values on a regular grid; `values[i]` belongs to `start_seconds + i * step_seconds`."""

    start_seconds: float
    step_seconds: float
    values: Floats

    def __post_init__(self) -> None:
        if self.step_seconds <= 0:
            raise ValueError(f"step_seconds must be positive, got {self.step_seconds}")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def end_seconds(self) -> float:
        """Time just after the last value's slot."""
        return self.start_seconds + len(self.values) * self.step_seconds

    @classmethod
    def from_samples(cls, seconds: Floats, values: Floats, step_seconds: float) -> Series:
        """Put irregular samples (ascending in time) on a grid: mean per slot, NaN where none fell.

        An empty input gives an empty series that starts at 0.
        """
        if len(seconds) == 0:
            return cls(0.0, step_seconds, np.empty(0))
        start = np.floor(seconds[0] / step_seconds) * step_seconds
        slots = ((seconds - start) // step_seconds).astype(np.int64)
        known = ~np.isnan(values)
        sums = np.bincount(slots[known], values[known], minlength=slots[-1] + 1)
        counts = np.bincount(slots[known], minlength=slots[-1] + 1)
        grid = np.full(len(counts), np.nan)
        np.divide(sums, counts, out=grid, where=counts > 0)
        return cls(float(start), step_seconds, grid)
