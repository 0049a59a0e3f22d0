"""Counts what a fleet did, cumulatively, the way a real exporter keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from replay.requests import Floats, Requests

# The bucket edges of Dynamo 1.6.1's front end, as seen in its exposition; for transfers those of
# vLLM with NIXL.
INPUT_EDGES = (0, 100, 210, 430, 870, 1800, 3600, 7400, 15000, 31000, 63000, 130000)
OUTPUT_EDGES = (0, 100, 210, 430, 880, 1800, 3700, 7600, 16000, 32000)
TTFT_EDGES = (
    *(0, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1, 0.22, 0.47),
    *(1, 2.2, 4.7, 10, 22, 48, 100, 220, 480),
)
ITL_EDGES = (
    *(0, 0.0018, 0.0033, 0.0059, 0.011, 0.02, 0.035, 0.064, 0.12, 0.21, 0.38, 0.69),
    *(1.2, 2.3, 4.1, 7.4, 13, 24, 44, 80),
)
TRANSFER_EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5)
BYTES_EDGES = tuple(2.0**power for power in range(11, 34))


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


@dataclass(slots=True)
class Tally:
    """All counters of one fleet since it started; none ever falls."""

    arrived_requests: int = 0
    finished_requests: int = 0
    generated_tokens: int = 0
    input_tokens: Histogram = field(default_factory=lambda: Histogram(INPUT_EDGES))
    cached_tokens: Histogram = field(default_factory=lambda: Histogram(INPUT_EDGES))
    output_tokens: Histogram = field(default_factory=lambda: Histogram(OUTPUT_EDGES))
    ttft_seconds: Histogram = field(default_factory=lambda: Histogram(TTFT_EDGES))
    itl_seconds: Histogram = field(default_factory=lambda: Histogram(ITL_EDGES))
    transfer_seconds: Histogram = field(default_factory=lambda: Histogram(TRANSFER_EDGES))
    transfer_bytes: Histogram = field(default_factory=lambda: Histogram(BYTES_EDGES))
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
