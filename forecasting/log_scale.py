"""Loads vary by factors, so models work on a log scale that bears zeros."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.series import Floats

MODEL_OFFSET_FRACTION = 0.1
ERROR_OFFSET_FRACTION = 1.0
"""Models see factors almost everywhere; the size of their errors grows more slowly than the load,
and with a purely relative error one miss at night would promise the impossible at noon."""

_LARGEST_EXPONENT = 80.0


@dataclass(frozen=True, slots=True)
class LogScale:
    """log(1 + x / offset): linear well below the offset, logarithmic well above it."""

    offset: float

    @classmethod
    def of(cls, values: Floats, offset_fraction: float = MODEL_OFFSET_FRACTION) -> LogScale:
        """Scale that turns logarithmic at this fraction of the values' mean."""
        known = values[np.isfinite(values)]
        mean = float(known.mean()) if known.size else 0.0
        return cls(offset_fraction * mean if mean > 0 else 1.0)

    @classmethod
    def of_errors(cls, values: Floats) -> LogScale:
        """Scale on which forecasts of such values err by about the same amount everywhere."""
        return cls.of(values, ERROR_OFFSET_FRACTION)

    def up(self, values: Floats) -> Floats:
        """Onto the log scale; values below zero count as zero."""
        return np.asarray(np.log1p(np.maximum(values, 0.0) / self.offset))

    def down(self, scaled: Floats) -> Floats:
        """Back to the units of the values, never below zero."""
        bounded = np.minimum(np.maximum(scaled, 0.0), _LARGEST_EXPONENT)
        return np.asarray(self.offset * np.expm1(bounded))
