"""How well a run served its requests, and what it cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from policies.config import Slo
from replay.requests import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One run. Attainments are shares of all requests that arrived; lost or late ones missed.

    ITL of a request is the mean gap between its tokens. GPU-hours are billed from the moment a
    replica is asked for until it is gone, start-up and draining included. A scaling event is one
    change of one role's size. Goodput counts requests that met both objectives.
    """

    requests: int
    joint_attainment: float | None
    ttft_attainment: float | None
    itl_attainment: float | None
    ttft_p50_seconds: float | None
    ttft_p95_seconds: float | None
    ttft_p99_seconds: float | None
    itl_p50_seconds: float | None
    itl_p95_seconds: float | None
    itl_p99_seconds: float | None
    goodput_per_second: float | None
    gpu_hours: float
    scaling_events: int
    unfinished_requests: int

    def as_dict(self) -> dict[str, float | int | None]:
        """Plain values, for JSON."""
        return asdict(self)


class LatencySketch:
    """Counts of latencies in bins 1% wide, so that quantiles of any number of them stay cheap.

    Covers 0.1 ms to 10^5 s; what lies outside falls into the first or last bin.
    """

    _EDGES = np.geomspace(1e-4, 1e5, 2084)

    def __init__(self) -> None:
        self._counts = np.zeros(len(self._EDGES) + 1, np.int64)

    def add(self, seconds: Floats) -> None:
        """Count these latencies."""
        bins = np.searchsorted(self._EDGES, seconds)
        self._counts += np.bincount(bins, minlength=len(self._counts))

    def quantile(self, share: float) -> float | None:
        """Smallest bin edge that `share` of the latencies stay below; None without any."""
        total = int(self._counts.sum())
        if total == 0:
            return None
        rank = np.searchsorted(np.cumsum(self._counts), share * total)
        return float(self._EDGES[min(int(rank), len(self._EDGES) - 1)])


class Scorer:
    """Judges requests as they finish, in bounded memory."""

    def __init__(self, slo: Slo) -> None:
        self._slo = slo
        self._met = np.zeros(3, np.int64)
        self._ttft, self._itl = LatencySketch(), LatencySketch()
        self.finished = 0

    def finish(self, ttft_seconds: Floats, itl_seconds: Floats, input_tokens: Floats) -> None:
        """Judge requests that have just got their last token."""
        ttft_met = ttft_seconds <= self._slo.ttft_objective_seconds(input_tokens)
        itl_met = itl_seconds <= self._slo.itl_seconds
        self._met += [ttft_met.sum(), itl_met.sum(), (ttft_met & itl_met).sum()]
        self._ttft.add(ttft_seconds)
        self._itl.add(itl_seconds)
        self.finished += len(ttft_seconds)

    def score(
        self, *, requests: int, run_seconds: float, gpu_seconds: float, scaling_events: int
    ) -> Score:
        """Sum up, counting every request that arrived and has not finished as missed."""
        ttft, itl, joint = (float(met) / requests if requests else None for met in self._met)
        return Score(
            requests=requests,
            joint_attainment=joint,
            ttft_attainment=ttft,
            itl_attainment=itl,
            ttft_p50_seconds=self._ttft.quantile(0.5),
            ttft_p95_seconds=self._ttft.quantile(0.95),
            ttft_p99_seconds=self._ttft.quantile(0.99),
            itl_p50_seconds=self._itl.quantile(0.5),
            itl_p95_seconds=self._itl.quantile(0.95),
            itl_p99_seconds=self._itl.quantile(0.99),
            goodput_per_second=float(self._met[2]) / run_seconds if run_seconds > 0 else None,
            gpu_hours=gpu_seconds / 3600,
            scaling_events=scaling_events,
            unfinished_requests=requests - self.finished,
        )
