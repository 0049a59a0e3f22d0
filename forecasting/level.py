"""The level a load has now, and how surely it rises: windows of several lengths, and chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from forecasting.series import Floats

_LONGEST_SECONDS = 480.0
# A rise is believed as far as it exceeds this many standard deviations of what chance gives.
_SURE = 2.0


@dataclass(frozen=True, slots=True)
class Windows:
    """Means over windows that end now, the shortest first, each twice as long as the one before.

    `noises` are the standard deviations that chance alone gives each mean.
    """

    seconds: Floats
    means: Floats
    noises: Floats

    @classmethod
    def of(
        cls, seconds: Floats, means: Floats, *, window_seconds: float, noise_fraction: float
    ) -> Windows:
        """Read a load's past: `means` over `window_seconds` up to `seconds`, the last one now.

        `noise_fraction` is the standard deviation of the newest such mean as a share of it. What
        comes at random has a variance in proportion to how much comes and to one over the time.
        """
        doublings = int(math.log2(max(_LONGEST_SECONDS / window_seconds, 1.0)))
        lengths = window_seconds * np.exp2(np.arange(doublings + 1, dtype=np.float64))
        first = np.searchsorted(seconds, seconds[-1] - (lengths - window_seconds))
        sums = np.concatenate(([0.0], np.cumsum(means)))
        averages = (sums[-1] - sums[first]) / (len(means) - first)
        spread = np.sqrt(averages[0] * averages * window_seconds / lengths)
        return cls(lengths, averages, noise_fraction * spread)

    @property
    def level(self) -> float:
        """The mean over the longest window, moved as far as each shorter one says that it must be.

        A long window is steady, and late; a short one is quick, and noisy. From the longest to the
        shortest, the estimate is brought within one standard deviation of each. Example: 100 over
        eight minutes and 130 over the last one, noise 5%: 123.5. At 103 it would stay at 100.
        Comparing windows by their noise is Lepski's idea ("On a Problem of Adaptive Estimation in
        Gaussian White Noise", 1991).
        """
        estimate = float(self.means[-1])
        for mean, noise in zip(self.means[::-1].tolist(), self.noises[::-1].tolist(), strict=True):
            estimate = min(max(estimate, mean - noise), mean + noise)
        return estimate

    @property
    def least_noise_fraction(self) -> float:
        """Standard deviation of the longest window's mean as a share of it; 0 of nothing."""
        mean = float(self.means[-1])
        return float(self.noises[-1]) / mean if mean > 0 else 0.0

    def risen(self, ahead_seconds: float) -> float:
        """What is to be expected `ahead_seconds` from now of a rise that chance does not explain.

        A window and one twice as long differ by the growth over half of the shorter one. What is
        beyond `_SURE` standard deviations of that difference is growth, taken to go on, but not by
        more than the rise that was seen. The shortest window's mean where nothing surely rises.
        """
        newest = float(self.means[0])
        if len(self.means) < 2:
            return newest
        differences = self.means[:-1] - self.means[1:]
        chance = np.sqrt(np.maximum(self.noises[:-1] ** 2 - self.noises[1:] ** 2, 0.0))
        growth = float(np.max((differences - _SURE * chance) / (self.seconds[:-1] / 2)))
        seen = newest - float(self.means.min())
        return newest + min(max(growth, 0.0) * (ahead_seconds + float(self.seconds[0]) / 2), seen)
