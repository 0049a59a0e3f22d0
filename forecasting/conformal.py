"""Upper quantiles that keep their promise, whatever the model: adaptive conformal prediction.

The centre forecast is raised by a quantile of how far the truth has recently come out above it.
The quantile's level follows the misses: Gibbs and Candes, "Adaptive Conformal Inference Under
Distribution Shift", 2021. Feedback is late: the truth is known lead + hold after the forecast.

How quickly it should follow depends on the load. Where misses come in bursts, a level that follows
quickly promises too much for long after each; where the load has changed for good, one that
follows slowly is wrong for long. So there are two calibrations of every model: the level of the
quick one follows the misses of that model, the level of the slow one those of the ensemble.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from forecasting.series import Floats

QUICK, SLOW = range(2)
CALIBRATIONS = 2
QUICK_RATE, SLOW_RATE = 0.02, 0.004
HALF_LIFE_ROWS = 200.0
"""Of scores: one that is so many forecasts older counts half as much."""

_LEAST_MISS_FRACTION, _MOST_MISS_FRACTION = 0.002, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Adaptive:
    """The shares of misses to aim at now, so that in the long run they are what was asked for."""

    asked_fraction: float
    rate: float
    miss_fractions: tuple[float, ...]

    @classmethod
    def covering(cls, fraction: float, count: int = 1, rate: float = QUICK_RATE) -> Adaptive:
        """Start at the coverage that is asked for, `count` times."""
        return cls(1 - fraction, rate, (1 - fraction,) * count)

    @property
    def levels(self) -> list[float]:
        """The quantiles of past scores to use now."""
        return [1 - miss_fraction for miss_fraction in self.miss_fractions]

    def after(self, truth: float, uppers: Sequence[float]) -> Adaptive:
        """Aim higher after a miss (by 9 times as much, at 0.9), lower after a hit.

        Where nothing was promised (NaN) nothing is learnt.
        """
        moved = []
        for miss_fraction, upper in zip(self.miss_fractions, uppers, strict=True):
            missed = self.asked_fraction if math.isnan(upper) else float(truth > upper)
            aim = miss_fraction + self.rate * (self.asked_fraction - missed)
            moved.append(min(max(aim, _LEAST_MISS_FRACTION), _MOST_MISS_FRACTION))
        return Adaptive(self.asked_fraction, self.rate, tuple(moved))


@lru_cache(maxsize=2048)
def fading(count: int, half_life: float = HALF_LIFE_ROWS) -> Floats:
    """Weights of scores in time order: the newest 1, half of it a half-life earlier. Read only."""
    weights = np.asarray(0.5 ** (np.arange(count)[::-1] / half_life))
    weights.setflags(write=False)
    return weights


def raised(scores: Floats, weights: Floats, levels: Floats) -> Floats:
    """Weighted quantiles of each model's scores, with room for one more.

    `scores` is of shape (models, rows), `levels` and the quantiles (calibrations, models). A score
    yet unseen, which counts as the newest does, stands above all others, as in split conformal
    prediction: few scores give the largest of them rather than a bold quantile.
    """
    order = scores.argsort(axis=1)
    reached = weights[order].cumsum(axis=1)
    needed = levels * (reached[:, -1] + weights[-1])
    below = np.count_nonzero(reached < needed[:, :, None], axis=2)
    place = np.minimum(below, scores.shape[1] - 1)
    models = np.arange(len(scores))
    return np.asarray(scores[models, order[models, place]])
