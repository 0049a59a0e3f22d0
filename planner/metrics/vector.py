"""What a query answers: samples with labels, and how a number is read from them, or is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from policies.lengths import Lengths


@dataclass(frozen=True, slots=True)
class Sample:
    """One value and the labels that tell it from the others of its vector."""

    labels: Mapping[str, str]
    value: float


Vector = tuple[Sample, ...]


def number(vector: Vector) -> float | None:
    """Read a single finite value, >= 0. Anything else, several values included, is unknown."""
    if len(vector) != 1:
        return None
    value = vector[0].value
    return value if math.isfinite(value) and value >= 0 else None


@dataclass(frozen=True, slots=True)
class Buckets:
    """A histogram: `counts[i]` in (edges[i-1], edges[i]]; the last edge is infinite."""

    edges: tuple[float, ...]
    counts: tuple[float, ...]

    @classmethod
    def read(cls, vector: Vector) -> Buckets | None:
        """Read cumulative counts by label `le`. None if empty or no histogram."""
        try:
            rows = sorted((float(sample.labels["le"]), sample.value) for sample in vector)
        except (KeyError, ValueError):
            return None
        edges = tuple(edge for edge, _ in rows)
        cumulative = [value for _, value in rows]
        whole = len(rows) > 0 and edges[-1] == math.inf and len(set(edges)) == len(edges)
        if not whole or not all(math.isfinite(edge) for edge in edges[:-1]):
            return None
        if not all(math.isfinite(value) and value >= 0 for value in cumulative):
            return None
        # Buckets are scraped one after another, so a later one may lag behind by a sample.
        counts, below = [], 0.0
        for value in cumulative:
            counts.append(max(value - below, 0.0))
            below = max(value, below)
        return cls(edges, tuple(counts)) if below > 0 else None

    def quantile(self, share: float) -> float | None:
        """Value under which `share` lies, interpolated in its bucket as Prometheus does.

        None in the first bucket above zero, where no edge says how small the values are, and in
        the last, where none says how large: both would be the edge's number, not the values'.
        """
        rank = share * sum(self.counts)
        below, reached = 0.0, 0.0
        for edge, count in zip(self.edges, self.counts, strict=True):
            if count > 0 and reached + count >= rank:
                if edge == math.inf or below <= 0:
                    return None
                return below + (edge - below) * (rank - reached) / count
            below, reached = edge, reached + count
        return None

    def lengths(self, mean_tokens: float | None) -> Lengths | None:
        """The distribution as sizing takes it, moved to the mean that the sum gives exactly."""
        return Lengths.from_buckets(self.edges, self.counts, mean_tokens)
