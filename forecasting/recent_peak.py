"""The peak of the last minutes stays: what was needed lately will be needed again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.forecaster import CannotRun, Outcome, Refusal
from forecasting.series import Floats, Series
from forecasting.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Peak:
    """Values that the peak is taken over, oldest first."""

    window: Floats
    last_known: float

    def extend(self, values: Floats) -> Peak:
        """Slide the window on."""
        known = values[~np.isnan(values)]
        last = float(known[-1]) if known.size else self.last_known
        window = np.concatenate((self.window, values))[-len(self.window) :]
        return Peak(window, last)

    def path(self, steps: int) -> Floats:
        """The peak, repeated; the last known value when the window holds none."""
        known = self.window[~np.isnan(self.window)]
        return np.full(steps, known.max() if known.size else self.last_known)


@dataclass(frozen=True, slots=True)
class RecentPeak:
    """Peak over as long a time as the target looks ahead."""

    name: str = "recent_peak"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Nothing to estimate."""
        if np.isnan(series.values).all():
            return CannotRun(Refusal.TOO_SHORT, "no value was ever seen")
        return Peak(np.full(target.last_step, np.nan), 0.0).extend(series.values)
