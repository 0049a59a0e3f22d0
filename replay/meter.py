"""Measures a simulated fleet as its metrics would: rates and latencies over a sliding window."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from policies.dispersion import Point, dispersion
from policies.lengths import Lengths
from policies.types import Latency, Observation
from replay.plant import Finished, FirstTokens, Snapshot
from replay.requests import Floats, Requests

# As long as a live source looks back on the counters of arrivals.
_DISPERSION_WINDOWS = 6


@dataclass
class Window:
    """Values with the times at which they were seen, forgotten after `seconds`."""

    seconds: float
    _batches: deque[tuple[float, Floats]] = field(default_factory=deque)

    def add(self, now_seconds: float, values: Floats) -> None:
        """Add what was seen by now and forget what is older than the window."""
        if len(values):
            self._batches.append((now_seconds, values))
        while self._batches and self._batches[0][0] <= now_seconds - self.seconds:
            self._batches.popleft()

    def values(self) -> Floats:
        """Everything inside the window."""
        return np.concatenate([v for _, v in self._batches]) if self._batches else np.empty(0)


class Meter:
    """Turns what happens in a plant into observations."""

    def __init__(self, window_seconds: float, start_seconds: float = 0.0) -> None:
        self._window_seconds = window_seconds
        # Steps are kept whole, so what is kept may reach back a little beyond the window.
        self._since_seconds = start_seconds
        self._step_ends: deque[float] = deque()
        self._arrived: deque[Point] = deque([(start_seconds, 0.0)])
        self._prompts, self._cached, self._outputs, self._ttft, self._itl = (
            Window(window_seconds) for _ in range(5)
        )

    def record(
        self, now_seconds: float, arrived: Requests, first: FirstTokens, finished: Finished
    ) -> None:
        """Note what happened since the last call."""
        self._step_ends.append(now_seconds)
        while self._step_ends[0] <= now_seconds - self._window_seconds:
            self._since_seconds = self._step_ends.popleft()
        self._arrived.append((now_seconds, self._arrived[-1][1] + len(arrived)))
        while self._arrived[0][0] < now_seconds - _DISPERSION_WINDOWS * self._window_seconds:
            self._arrived.popleft()
        self._prompts.add(now_seconds, arrived.input_tokens)
        self._cached.add(now_seconds, arrived.cached_tokens)
        self._ttft.add(now_seconds, first.ttft_seconds)
        self._itl.add(now_seconds, finished.itl_seconds)
        self._outputs.add(now_seconds, finished.output_tokens)

    def observe(self, snapshot: Snapshot) -> Observation:
        """Observe as of the snapshot. Before any time has passed the arrival rate is unknown."""
        now = snapshot.now_seconds
        span = now - self._since_seconds
        prompts = self._prompts.values()
        cached, outputs = self._cached.values().sum(), self._outputs.values()
        return Observation(
            observed_at_seconds=now,
            window_seconds=self._window_seconds,
            requests_per_second=len(prompts) / span if span > 0 else None,
            arrival_dispersion=dispersion([self._arrived]),
            input_tokens=Lengths.from_samples(prompts),
            output_tokens=Lengths.from_samples(outputs),
            output_tokens_mean=float(outputs.mean()) if len(outputs) else None,
            prefix_hit_fraction=float(cached / prompts.sum()) if prompts.sum() > 0 else None,
            ttft=_latency(self._ttft.values()),
            itl=_latency(self._itl.values()),
            waiting_requests=snapshot.waiting_requests.map(float),
            running_requests=snapshot.running_requests.map(float),
            kv_usage_fraction=snapshot.kv_usage_fraction,
            kv_usage_max_fraction=snapshot.kv_usage_max_fraction,
            kv_transfer_backlog_requests=float(
                snapshot.transfers_waiting + snapshot.transfers_running
            ),
        )


def _latency(seconds: Floats) -> Latency:
    if not len(seconds):
        return Latency()
    return Latency(
        mean_seconds=float(seconds.mean()), p95_seconds=float(np.quantile(seconds, 0.95))
    )
