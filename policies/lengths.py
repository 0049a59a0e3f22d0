"""A distribution of request lengths: what sizing needs instead of a mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

# Quantile midpoints of a stand-in distribution: 16 equal-weight points reproduce the first two
# moments of a lognormal with CV 1 to within 5%, before `scaled_to_mean` restores the mean exactly.
_POINTS = 16


@dataclass(frozen=True, slots=True)
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
        """Stand in for an unseen distribution of known mean, in equal-probability points.

        `cv` is the coefficient of variation (standard deviation over mean); real prompt lengths
        have 0.8 to 1.5.
        """
        if mean_tokens <= 0 or cv <= 0:
            return cls((max(mean_tokens, 0.0),), (1.0,))
        sigma = math.sqrt(math.log1p(cv * cv))
        normal = NormalDist()
        points = [math.exp(sigma * normal.inv_cdf((i + 0.5) / _POINTS)) for i in range(_POINTS)]
        return cls(tuple(points), (1 / _POINTS,) * _POINTS).scaled_to_mean(mean_tokens)

    @classmethod
    def from_buckets(
        cls, edges: Sequence[float], counts: Sequence[float], mean_tokens: float | None = None
    ) -> Lengths | None:
        """Read histogram buckets: `counts[i]` requests in (edges[i-1], edges[i]].

        The last edge may be infinite; its bucket then stands at 1.5 times the edge below. Points
        sit at bucket midpoints and are moved to `mean_tokens`, which a histogram knows exactly
        from its sum. None when the buckets are empty.
        """
        total = sum(counts)
        if total <= 0:
            return None
        tokens, weights = [], []
        below = 0.0
        for edge, count in zip(edges, counts, strict=True):
            middle = (below + edge) / 2 if math.isfinite(edge) else below * 1.5
            if count > 0:
                tokens.append(middle)
                weights.append(count / total)
            below = edge
        lengths = cls(tuple(tokens), tuple(weights))
        return lengths.scaled_to_mean(mean_tokens) if mean_tokens else lengths

    @classmethod
    def from_samples(cls, tokens: NDArray[np.float64]) -> Lengths | None:
        """Condense observed lengths to at most 16 equal-probability points; None without any."""
        if not len(tokens):
            return None
        groups = np.array_split(np.sort(tokens), min(_POINTS, len(tokens)))
        return cls(
            tuple(float(group.mean()) for group in groups),
            tuple(len(group) / len(tokens) for group in groups),
        )

    @property
    def mean(self) -> float:
        """Mean token count."""
        return self.average(lambda tokens: tokens)

    def average(self, value: Callable[[float], float]) -> float:
        """Expected `value` of a request's length."""
        return sum(w * value(n) for n, w in zip(self.tokens, self.weights, strict=True))

    def scaled(self, factor: float) -> Lengths:
        """Every length times `factor`."""
        return Lengths(tuple(n * factor for n in self.tokens), self.weights)

    def scaled_to_mean(self, mean_tokens: float) -> Lengths:
        """The same shape with another mean."""
        return self.scaled(mean_tokens / self.mean) if self.mean > 0 else self
