"""A distribution of request lengths: what sizing needs instead of a mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from operator import mul
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Boundaries, as shares of all requests, between the points of a condensed distribution. The tail is
# finer than the body: an objective for 99% of requests is decided by the longest 1% of prompts.
_CUTS = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.93, 0.96, 0.98, 0.99, 0.995, 1)
_SHARES = tuple(b - a for a, b in pairwise(_CUTS))
_PARTS = 8  # of each bucket, to draw what is in it
_CUT_POINTS, _BETWEEN_CUTS = np.array(_CUTS), np.array(_SHARES)


@dataclass(frozen=True)
class Lengths:
    """Token counts and their probabilities (weights sum to 1), ascending by token count."""

    tokens: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.tokens or len(self.tokens) != len(self.weights):
            raise ValueError("a length distribution needs as many weights as token counts, >= 1")
        if min(self.tokens) < 0 or abs(sum(self.weights) - 1) > 1e-6:
            raise ValueError("token counts must be >= 0 and weights must sum to 1")

    @classmethod
    def lognormal(cls, mean_tokens: float, cv: float = 1.0) -> Lengths:
        """Stand in for an unseen distribution of known mean.

        `cv` is the coefficient of variation (standard deviation over mean); real prompt lengths
        have 0.8 to 1.5.
        """
        if mean_tokens <= 0 or cv <= 0:
            return cls((max(mean_tokens, 0.0),), (1.0,))
        return _lognormal(cv).scaled_to_mean(mean_tokens)

    @classmethod
    def from_buckets(
        cls, edges: Sequence[float], counts: Sequence[float], mean_tokens: float | None = None
    ) -> Lengths | None:
        """Read histogram buckets: `counts[i]` requests in (edges[i-1], edges[i]].

        The last edge may be infinite; its bucket then ends at twice the edge below. Buckets are an
        octave wide and most of the last ones hold is near their lower edge: in the middle of them
        it would make the fourth moment of answers up to four times what it is. So the share up to
        each edge is drawn smooth and monotone over the logarithm of the tokens (Fritsch and
        Butland, 1984), condensed like samples, and moved to `mean_tokens`, which a histogram knows
        exactly from its sum. None when the buckets are empty.
        """
        from scipy.interpolate import PchipInterpolator  # 0.2 s that a replay never needs

        total = sum(counts)
        if total <= 0:
            return None
        places, shares = [0.0], [0.0]
        for edge, count in zip(edges, counts, strict=True):
            if edge <= 0:
                shares[0] += count / total
                continue
            end = edge if math.isfinite(edge) else max(2.0 * math.expm1(places[-1]), 1.0)
            places.append(math.log1p(end))
            shares.append(shares[-1] + count / total)
        grid = np.linspace(0, len(places) - 1, _PARTS * (len(places) - 1) + 1)
        fine = np.interp(grid, np.arange(len(places)), places)
        weights = np.diff(PchipInterpolator(places, shares)(fine)).clip(0.0)
        tokens = np.expm1((fine[1:] + fine[:-1]) / 2)
        points = [(0.0, shares[0]), *zip(tokens.tolist(), weights.tolist(), strict=True)]
        lengths = cls(_means_between_cuts([point for point in points if point[1] > 0]), _SHARES)
        if sum(count > 0 for count in counts) == 1:  # they may well be all the same
            lengths = cls((lengths.mean,), (1.0,))
        return lengths.scaled_to_mean(mean_tokens) if mean_tokens else lengths

    @classmethod
    def from_samples(cls, tokens: Floats) -> Lengths | None:
        """Condense observed lengths to at most 15 points; None without any."""
        if not len(tokens):
            return None
        ascending = np.sort(tokens)
        sums = np.concatenate(([0.0], np.cumsum(ascending))) / len(tokens)
        below = np.interp(_CUT_POINTS, np.arange(len(sums)) / len(tokens), sums)
        means = (below[1:] - below[:-1]) / _BETWEEN_CUTS
        means = np.maximum.accumulate(means)  # rounding may swap equal ones
        return cls(tuple(means.tolist()), _SHARES)

    @cached_property
    def mean(self) -> float:
        """Mean token count."""
        return _dot(self.weights, self.tokens)

    @cached_property
    def moments(self) -> tuple[float, float, float, float]:
        """Means of the token count and of its square, cube and fourth power."""
        tokens, weights = self.tokens, self.weights
        square = [n * n for n in tokens]
        cube = map(mul, square, tokens)
        fourth = map(mul, square, square)
        return self.mean, _dot(weights, square), _dot(weights, cube), _dot(weights, fourth)

    def pooled(self, newer: Lengths, share: float) -> Lengths:
        """Both together, the newer ones making up `share` of them; at most 15 points."""
        older = [w * (1.0 - share) for w in self.weights]
        points = [*zip(self.tokens, older, strict=True)]
        points += zip(newer.tokens, [w * share for w in newer.weights], strict=True)
        points.sort()
        return Lengths(_means_between_cuts(points), _SHARES)

    def weighed(self, weight: Callable[[float], float]) -> Lengths:
        """The same lengths, each as probable as before times its weight (above 0)."""
        shares = [w * weight(n) for n, w in zip(self.tokens, self.weights, strict=True)]
        total = sum(shares)
        return Lengths(self.tokens, tuple(share / total for share in shares))

    def scaled(self, factor: float) -> Lengths:
        """Every length times `factor`."""
        return Lengths(tuple(n * factor for n in self.tokens), self.weights)

    def scaled_to_mean(self, mean_tokens: float) -> Lengths:
        """The same shape with another mean."""
        return self.scaled(mean_tokens / self.mean) if self.mean > 0 else self


def _dot(weights: Iterable[float], values: Iterable[float]) -> float:
    return float(sum(map(mul, weights, values)))


def _means_between_cuts(points: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Means of ascending (tokens, weight) between the cuts; one on a cut counts on both sides."""
    total = sum([weight for _, weight in points])
    rest = iter(points)
    tokens, left = next(rest)
    means, mean = [], 0.0
    for share in _SHARES:
        wanted, sum_of_tokens = share * total, 0.0
        while left < wanted:
            sum_of_tokens += left * tokens
            wanted -= left
            tokens, left = next(rest, (tokens, wanted))  # rounding may leave the last one short
        sum_of_tokens += wanted * tokens
        left -= wanted
        mean = max(sum_of_tokens / (share * total), mean)  # rounding may swap equal ones
        means.append(mean)
    return tuple(means)


@cache
def _lognormal(cv: float) -> Lengths:
    """A lognormal distribution of median 1, by a point between each two cuts."""
    sigma = math.sqrt(math.log1p(cv * cv))
    normal = NormalDist()
    points = (math.exp(sigma * normal.inv_cdf((a + b) / 2)) for a, b in pairwise(_CUTS))
    return Lengths(tuple(points), _SHARES)
