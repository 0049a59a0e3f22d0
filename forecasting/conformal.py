"""Upper quantiles that keep their promise, whatever the model: adaptive conformal prediction.

The centre forecast is raised by a quantile of how far the truth has recently come out above it.
The quantile's level follows the misses: Gibbs and Candes, "Adaptive Conformal Inference Under
Distribution Shift", 2021. Feedback is late: the truth is known lead + hold after the forecast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from forecasting.series import Floats

_LEAST_MISS_FRACTION, _MOST_MISS_FRACTION = 0.002, 0.5


@dataclass(frozen=True, slots=True)
class Adaptive:
    """The share of misses to aim at now, so that the long-run share is what was asked for."""

    asked_fraction: float
    rate: float
    miss_fraction: float

    @classmethod
    def covering(cls, fraction: float, rate: float = 0.02) -> Adaptive:
        """Start at the coverage that is asked for."""
        return cls(1 - fraction, rate, 1 - fraction)

    @property
    def level(self) -> float:
        """The quantile of past scores to use now."""
        return 1 - self.miss_fraction

    def after(self, missed: bool) -> Adaptive:
        """Aim higher after a miss (by 9 times as much, at 0.9), lower after a hit."""
        moved = self.miss_fraction + self.rate * (self.asked_fraction - missed)
        bounded = min(max(moved, _LEAST_MISS_FRACTION), _MOST_MISS_FRACTION)
        return Adaptive(self.asked_fraction, self.rate, bounded)


@lru_cache(maxsize=2048)
def fading(count: int, half_life: float) -> Floats:
    """Weights of scores in time order: the newest 1, half of it a half-life earlier. Read only."""
    weights = np.asarray(0.5 ** (np.arange(count)[::-1] / half_life))
    weights.setflags(write=False)
    return weights


def raised(scores: Floats, weights: Floats, level: float) -> float:
    """Weighted quantile of the scores, with room for one more.

    A score yet unseen stands above all others, as in split conformal prediction: few scores give
    the largest of them rather than a bold quantile.
    """
    order = scores.argsort()
    reached = weights[order].cumsum()
    needed = level * (reached[-1] + weights.max())
    place = min(int(reached.searchsorted(needed)), len(scores) - 1)
    return float(scores[order[place]])
