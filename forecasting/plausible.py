"""How large a value may be and still be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from forecasting.series import Floats

ABSURD_FACTOR = 10.0


@dataclass(frozen=True, slots=True)
class Plausible:
    """The two largest values of a history; the second says what is believed."""

    largest: float = -math.inf
    second: float = -math.inf

    @classmethod
    def of(cls, values: Floats) -> Plausible:
        """Look through a history; NaN is no value."""
        return cls().after(values)

    def after(self, values: Floats) -> Plausible:
        """Take in more values. Those that the history forgets stay until it is looked through."""
        if len(values) == 1:
            value = float(values[0])
            if not value > self.second:
                return self
            return Plausible(max(value, self.largest), min(value, self.largest))
        known = values[~np.isnan(values)]
        top = sorted((self.largest, self.second, *np.sort(known)[-2:].tolist()))
        return Plausible(top[-1], top[-2])

    @property
    def limit(self) -> float:
        """Ten times the second largest value: a level must show twice to be believed.

        Infinite before two values above zero were seen, because nothing is known then.
        """
        return ABSURD_FACTOR * self.second if self.second > 0 else math.inf
