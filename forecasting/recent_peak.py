"""The peak of the last minutes stays: what was needed lately will be needed again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from forecasting.forecaster import CannotRun, Outcome, Refusal
from forecasting.series import Floats, Series
from forecasting.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Peak:
    """Values that the peak is taken over, oldest first."""

    window: tuple[float, ...]
    last_known: float

    def extend(self, values: Floats) -> Peak:
        """Slide the window on."""
        newest = values.tolist()
        known = [value for value in newest if not math.isnan(value)]
        window = (*self.window, *newest)[-len(self.window) :]
        return Peak(window, known[-1] if known else self.last_known)

    def path(self, steps: int) -> Floats:
        """The peak, repeated; the last known value when the window holds none."""
        known = [value for value in self.window if not math.isnan(value)]
        return np.full(steps, max(known, default=self.last_known))


@dataclass(frozen=True, slots=True)
class RecentPeak:
    """Peak over as long a time as the target looks ahead."""

    name: str = "recent_peak"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Nothing to estimate."""
        if np.isnan(series.values).all():
            return CannotRun(Refusal.TOO_SHORT, "no value was ever seen")
        return Peak((math.nan,) * target.last_step, 0.0).extend(series.values)
