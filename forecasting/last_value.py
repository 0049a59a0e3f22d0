"""The newest value stays. Hard to beat over short leads, and the measure of all others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.forecaster import CannotRun, Outcome, Refusal
from forecasting.series import Floats, Series
from forecasting.target import Target


@dataclass(frozen=True, slots=True)
class Constant:
    """A path that stays at one value."""

    value: float

    def extend(self, values: Floats) -> Constant:
        """Move to the newest known value."""
        known = values[~np.isnan(values)]
        return Constant(float(known[-1])) if known.size else self

    def path(self, steps: int) -> Floats:
        """The value, repeated."""
        return np.full(steps, self.value)


@dataclass(frozen=True, slots=True)
class LastValue:
    """Random walk."""

    name: str = "last_value"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Nothing to estimate."""
        del target
        if np.isnan(series.values).all():
            return CannotRun(Refusal.TOO_SHORT, "no value was ever seen")
        return Constant(0.0).extend(series.values)
