"""Counts what a fleet did, cumulatively, the way a real exporter keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from replay.buckets import FINEST, TRANSFER_BYTES, TRANSFER_SECONDS, Edges
from replay.requests import Floats, Requests


class Histogram:
    """Counts of values in (edge below, edge], with their sum; one last bucket has no upper edge."""

    def __init__(self, edges: Sequence[float]) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        if not np.all(np.diff(self.edges) > 0):
            raise ValueError("bucket edges must ascend")
        self.counts: NDArray[np.int64] = np.zeros(len(self.edges) + 1, dtype=np.int64)
        self.sum = 0.0

    def observe(self, values: Floats, times: NDArray[np.int64] | None = None) -> None:
        """Add `values`, each as often as `times` says (once by default)."""
        buckets = self.edges.searchsorted(values, side="left")
        np.add.at(self.counts, buckets, 1 if times is None else times)
        self.sum += float(np.sum(values if times is None else values * times))

    @property
    def count(self) -> int:
        """Number of values seen."""
        return int(self.counts.sum())

    def regrouped(self, edges: Edges) -> Histogram:
        """Show the same values on coarser edges.

        Exact where every edge is one of the own. Any other counts up to the own edge below it.
        """
        result = Histogram(edges)
        below = np.concatenate(([0], self.counts.cumsum()))
        own = self.edges.searchsorted(result.edges, side="right")
        result.counts = np.diff(np.concatenate((below[own], below[-1:])), prepend=0)
        result.sum = self.sum
        return result


@dataclass(slots=True)
class Tally:
    """All counters of one fleet since it started; none ever falls."""

    arrived_requests: int = 0
    finished_requests: int = 0
    generated_tokens: int = 0
    input_tokens: Histogram = field(default_factory=lambda: Histogram(FINEST.input_tokens))
    cached_tokens: Histogram = field(default_factory=lambda: Histogram(FINEST.input_tokens))
    output_tokens: Histogram = field(default_factory=lambda: Histogram(FINEST.output_tokens))
    ttft_seconds: Histogram = field(default_factory=lambda: Histogram(FINEST.ttft_seconds))
    itl_seconds: Histogram = field(default_factory=lambda: Histogram(FINEST.itl_seconds))
    transfer_seconds: Histogram = field(default_factory=lambda: Histogram(TRANSFER_SECONDS))
    transfer_bytes: Histogram = field(default_factory=lambda: Histogram(TRANSFER_BYTES))
    failed_transfers: int = 0

    def arrive(self, requests: Requests) -> None:
        """Count requests as they come in."""
        self.arrived_requests += len(requests)
        self.input_tokens.observe(requests.input_tokens)
        self.cached_tokens.observe(requests.cached_tokens)

    def first_tokens(self, ttft_seconds: Floats) -> None:
        """Count first tokens as they are sent."""
        self.ttft_seconds.observe(ttft_seconds)

    def transfer(self, seconds: Floats, sizes_bytes: Floats) -> None:
        """Count KV hand-offs as they complete."""
        self.transfer_seconds.observe(seconds)
        self.transfer_bytes.observe(sizes_bytes)

    def finish(self, itl_seconds: Floats, output_tokens: Floats) -> None:
        """Count requests as they end; `itl_seconds` is each request's mean.

        Exporters count every gap between two tokens: 10 tokens at 20 ms are 9 values of 0.02.
        """
        self.finished_requests += len(output_tokens)
        self.generated_tokens += int(output_tokens.sum())
        self.output_tokens.observe(output_tokens)
        gaps = np.maximum(output_tokens.astype(np.int64) - 1, 0)
        self.itl_seconds.observe(np.nan_to_num(itl_seconds), gaps)
