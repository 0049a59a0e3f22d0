"""The level a load has now, and how surely it rises: windows of several lengths, and chance."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from forecasting.recent import trailing_means

_LONGEST_SECONDS = 480.0
# A rise or fall is believed as far as it exceeds so many standard deviations of what chance gives:
# several windows are looked at in every tick, so two would be exceeded a few times an hour.
_SURE = 3.5


class Windows(NamedTuple):
    """Means over windows that end now, the shortest first, each twice as long as the one before.

    `noises` are the standard deviations that chance alone gives each mean.
    """

    seconds: Sequence[float]
    means: Sequence[float]
    noises: Sequence[float]

    @classmethod
    def of(
        cls,
        seconds: Sequence[float],
        values: Sequence[float],
        *,
        window_seconds: float,
        noise_fraction: float,
        averaged_seconds: float = 0.0,
    ) -> Windows:
        """Read a load's past: `values` up to `seconds`, the last one now.

        Each is a mean over `window_seconds`, once averaged over the last `averaged_seconds` of them
        where that is part of the window. `noise_fraction` is the standard deviation of the newest
        such mean as a share of it. What comes at random has a variance in proportion to how much
        comes and to one over the time.
        """
        doublings = int(math.log2(max(_LONGEST_SECONDS / window_seconds, 1.0)))
        lengths = [window_seconds * 2.0**doubling for doubling in range(doublings + 1)]
        first = [bisect_left(seconds, seconds[-1] - (each - window_seconds)) for each in lengths]
        oldest = first[-1]
        means = trailing_means(seconds, values, averaged_seconds, oldest)
        sums = (0.0, *accumulate(means))
        averages = [(sums[-1] - sums[place - oldest]) / (len(seconds) - place) for place in first]
        noises = [
            noise_fraction * math.sqrt(averages[0] * average * window_seconds / length)
            for average, length in zip(averages, lengths, strict=True)
        ]
        return cls(lengths, averages, noises)

    @property
    def level(self) -> float:
        """The mean over the longest window, moved as far as each shorter one says that it must be.

        A long window is steady, and late; a short one is quick, and noisy. From the longest to the
        shortest, the estimate is brought within one standard deviation of each. Example: 100 over
        eight minutes and 130 over the last one, noise 5%: 123.5. At 103 it would stay at 100.
        Comparing windows by their noise is Lepski's idea ("On a Problem of Adaptive Estimation in
        Gaussian White Noise", 1991).
        """
        estimate = self.means[-1]
        for mean, noise in zip(self.means[::-1], self.noises[::-1], strict=True):
            estimate = min(max(estimate, mean - noise), mean + noise)
        return estimate

    @property
    def least_noise_fraction(self) -> float:
        """Standard deviation of the longest window's mean as a share of it; 0 of nothing."""
        mean = self.means[-1]
        return self.noises[-1] / mean if mean > 0 else 0.0

    @property
    def falls(self) -> bool:
        """Whether each window lies below the one twice as long, one by more than chance explains.

        A load that fell a while ago and stands now does not fall any more.
        """
        below = [(longer - shorter, sure) for _, shorter, longer, sure in self._doubled(1.0)]
        return all(by > 0 for by, _ in below) and any(by > sure for by, sure in below)

    def risen(self, ahead_seconds: float, noise_share: float = 1.0) -> float:
        """What is to be expected `ahead_seconds` from now of a rise that chance does not explain.

        A window and one twice as long differ by the growth over half of the shorter one. What is
        beyond `_SURE` standard deviations of that difference is growth, taken to go on, but not by
        more than the rise that was seen. The shortest window's mean where nothing surely rises.

        Of the noise, only `noise_share` is taken for chance: the rest may be bursts, which are what
        a rise is to be ready for.
        """
        growth = 0.0
        for length, shorter, longer, sure in self._doubled(noise_share):
            growth = max(growth, (shorter - longer - sure) / (length / 2))
        newest = self.means[0]
        seen = newest - min(self.means)
        return newest + min(growth * (ahead_seconds + self.seconds[0] / 2), seen)

    def _doubled(self, noise_share: float) -> Iterator[tuple[float, float, float, float]]:
        """Each window and the next: length, both means, and what is surely more than chance."""
        pairs = zip(self.seconds, pairwise(self.means), pairwise(self.noises), strict=False)
        for length, (shorter, longer), (noise, longer_noise) in pairs:
            chance = math.sqrt(max(noise**2 - longer_noise**2, 0.0))
            yield length, shorter, longer, _SURE * noise_share * chance
