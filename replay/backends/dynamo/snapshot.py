"""What Dynamo's replay tells a scaling policy, read as an observation and as pools.

A snapshot has means and counts only: percentiles, the lengths of single prompts and the KV hand-off
stay unknown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.dispersion import Point, dispersion
from policies.lengths import Lengths
from policies.types import Latency, Observation, PerRole, PoolState, Role

_WINDOW_SECONDS = 60.0
# How bursty arrivals are takes longer to tell than how many there are.
_DISPERSION_SECONDS = 6 * _WINDOW_SECONDS

Snapshot = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """Traffic between two ticks: arrivals, and means over the requests that finished."""

    ended_at_seconds: float
    traffic: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        """How long it was."""
        return float(self.traffic["duration_s"])

    @property
    def arrivals(self) -> int:
        """Requests that arrived."""
        return int(self.traffic["num_req"])


class Window:
    """The intervals of the last minute, and all arrivals as they were counted for longer."""

    def __init__(self) -> None:
        self._intervals: deque[Interval] = deque()
        self._counted: deque[Point] = deque()

    def add(self, interval: Interval) -> None:
        """Add the newest and forget what lies before the window."""
        self._intervals.append(interval)
        oldest = interval.ended_at_seconds - _WINDOW_SECONDS
        while self._intervals[0].ended_at_seconds <= oldest:
            self._intervals.popleft()
        ended = interval.ended_at_seconds
        before = self._counted[-1][1] if self._counted else 0.0
        self._counted.append((ended, before + interval.arrivals))
        while self._counted[0][0] < ended - _DISPERSION_SECONDS:
            self._counted.popleft()

    @property
    def requests_per_second(self) -> float | None:
        """Arrivals over time; None before any time has passed."""
        seconds = sum(interval.seconds for interval in self._intervals)
        arrivals = sum(interval.arrivals for interval in self._intervals)
        return arrivals / seconds if seconds > 0 else None

    @property
    def arrival_dispersion(self) -> float | None:
        """Variance over mean of arrivals per interval; None while too few are known."""
        return dispersion([self._counted])

    def mean(self, value: str, count: str) -> float | None:
        """A traffic mean over the window; None when it is of nothing."""
        weighed = [
            (float(interval.traffic[value]), int(interval.traffic[count]))
            for interval in self._intervals
            if interval.traffic[count]
        ]
        total = sum(weight for _, weight in weighed)
        return sum(mean * weight for mean, weight in weighed) / total if total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """Turns snapshots into observations; what they leave out is set here.

    `input_length_cv` spreads prompts around their mean; `kv_capacity_tokens` is a decode replica's.
    """

    window: Window
    kv_capacity_tokens: float
    input_length_cv: float

    def observe(self, snapshot: Snapshot, now_seconds: float) -> Observation:
        """Observe as of the snapshot; lengths and latencies are of finished requests."""
        self.window.add(Interval(now_seconds, snapshot["traffic"]))
        prompt_tokens = self.window.mean("avg_isl", "shape_count")
        return Observation(
            observed_at_seconds=now_seconds,
            window_seconds=_WINDOW_SECONDS,
            requests_per_second=self.window.requests_per_second,
            arrival_dispersion=self.window.arrival_dispersion,
            input_tokens=(
                Lengths.lognormal(prompt_tokens, self.input_length_cv) if prompt_tokens else None
            ),
            output_tokens_mean=self.window.mean("avg_osl", "shape_count"),
            prefix_hit_fraction=self.window.mean("avg_kv_hit_rate", "hit_rate_count"),
            ttft=self._latency("avg_ttft_ms", "ttft_count"),
            itl=self._latency("avg_itl_ms", "itl_count"),
            waiting_requests=PerRole.of(lambda role: _total(snapshot, role, f"num_queued_{role}")),
            running_requests=PerRole.of(
                lambda role: _total(snapshot, role, f"num_{role}_requests")
            ),
            kv_usage_fraction=self._kv_usage(snapshot),
        )

    def _latency(self, mean: str, count: str) -> Latency:
        milliseconds = self.window.mean(mean, count)
        return Latency(mean_seconds=None if milliseconds is None else milliseconds / 1000)

    def _kv_usage(self, snapshot: Snapshot) -> float | None:
        workers = snapshot["decode_fpm_snapshots"]
        if not workers:
            return None
        used = sum(worker["sum_decode_kv_tokens"] for worker in workers)
        return float(used) / (len(workers) * self.kv_capacity_tokens)


class Pools:
    """Follows the workers of both pools: what was asked for, and since when each is starting."""

    def __init__(self, initial: PerRole[int]) -> None:
        self._desired = initial
        self._asked_at_seconds: dict[tuple[Role, int], float] = {}
        self._last_scaled_seconds = 0.0
        self.scaling_events = 0

    def read(self, snapshot: Snapshot, now_seconds: float) -> PerRole[PoolState]:
        """The pools now. A worker first seen starting was asked for at the last change."""
        return PerRole.of(lambda role: self._pool(snapshot, role, now_seconds))

    def scale(self, target: PerRole[int], now_seconds: float) -> None:
        """Note that other sizes are asked for."""
        self.scaling_events += sum(target[role] != self._desired[role] for role in Role)
        self._desired, self._last_scaled_seconds = target, now_seconds

    def _pool(self, snapshot: Snapshot, role: Role, now_seconds: float) -> PoolState:
        starting = [(role, worker) for worker in snapshot[f"starting_{role}_ids"]]
        for worker in starting:
            self._asked_at_seconds.setdefault(worker, self._last_scaled_seconds)
        return PoolState(
            desired_replicas=self._desired[role],
            ready_replicas=int(snapshot[f"active_{role}_count"]),
            starting_ages_seconds=tuple(
                now_seconds - self._asked_at_seconds[worker] for worker in starting
            ),
            draining_replicas=int(snapshot[f"draining_{role}_count"]),
        )


def _total(snapshot: Snapshot, role: Role, field: str) -> float:
    return float(sum(worker[field] for worker in snapshot[f"{role}_fpm_snapshots"]))
