"""Upper quantiles that keep their promise, whatever the model: adaptive conformal prediction.

The centre forecast is raised by a quantile of how far the truth has recently come out above it.
The quantile's level follows the misses: Gibbs and Candes, "Adaptive Conformal Inference Under
Distribution Shift", 2021. Feedback is late: the truth is known lead + hold after the forecast.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def fading(count: int, half_life: float) -> Floats:
    """Weights of scores in time order: the newest 1, half of it a half-life earlier."""
    return np.asarray(0.5 ** (np.arange(count)[::-1] / half_life))


def raises(scores: Floats, weights: Floats, level: float) -> Floats:
    """Weighted quantile of each column of `scores`, shape (rows, columns), with room for one more.

    A score yet unseen stands above all others, as in split conformal prediction: few scores give
    the largest of them rather than a bold quantile.
    """
    order = np.argsort(scores, axis=0)
    reached = np.cumsum(weights[order], axis=0)
    needed = level * (reached[-1] + weights.max())
    row = np.minimum((reached < needed).sum(axis=0), len(scores) - 1)
    columns = np.arange(scores.shape[1])
    return np.asarray(scores[order[row, columns], columns])
