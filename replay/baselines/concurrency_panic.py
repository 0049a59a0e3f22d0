"""Concurrency per replica with a panic window: the Knative pod autoscaler's way."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from pydantic import Field, NonNegativeFloat, PositiveFloat

from policies.demand import shape_of
from policies.types import Observation, PerRole, PoolState
from replay.baselines.replica import Replica
from replay.baselines.rule import Knobs
from replay.scene import Scene


class ConcurrencyKnobs(Knobs):
    """Knative Serving's defaults. The concurrency itself is the workload's to state.

    Here it is 1 prompt in prefill, where prompts wait for each other, and in decode the most
    sequences within the ITL objective.
    """

    prompts_per_replica: PositiveFloat = 1.0

    target_utilisation_fraction: float = Field(default=0.7, gt=0, le=1)
    stable_window_seconds: PositiveFloat = 60.0
    panic_window_fraction: float = Field(default=0.1, gt=0, le=1)
    panic_threshold: PositiveFloat = 2.0
    max_scale_out_factor: PositiveFloat = 1000.0
    max_scale_in_factor: PositiveFloat = 2.0
    scale_in_delay_seconds: NonNegativeFloat = 0.0


@dataclass
class Panicking:
    """One workload: averages of its concurrency, and whether it is in panic."""

    knobs: ConcurrencyKnobs
    _samples: deque[tuple[float, float]] = field(default_factory=deque)
    _desired: deque[tuple[float, int]] = field(default_factory=deque)
    _panicked_seconds: float | None = None
    _panic_most: int = 0
    _is_new: bool = True

    def size(self, pool: PoolState, concurrency: float, target: float, now_seconds: float) -> int:
        """Decide as the autoscaler does at each of its ticks."""
        knobs, ready = self.knobs, max(pool.ready_replicas, 1)
        if self._is_new:
            self._is_new = False
            if pool.ready_replicas > 1:  # a restart knows no history: panic holds the size found
                self._panicked_seconds, self._panic_most = now_seconds, pool.ready_replicas
        self._samples.append((now_seconds, concurrency))
        window = knobs.stable_window_seconds
        while self._samples[0][0] <= now_seconds - window:
            self._samples.popleft()
        panic_window = window * knobs.panic_window_fraction
        stable = math.ceil(self._average(now_seconds - window) / target)
        panic = math.ceil(self._average(now_seconds - panic_window) / target)
        most = math.ceil(knobs.max_scale_out_factor * ready)
        least = math.floor(ready / knobs.max_scale_in_factor)
        self._judge(over=panic / ready >= knobs.panic_threshold, now_seconds=now_seconds)
        desired = min(max(stable, least), most)
        if self._panicked_seconds is not None:
            desired = max(desired, min(max(panic, least), most), self._panic_most)
            self._panic_most = desired
        return self._delayed(desired, now_seconds)

    def _judge(self, *, over: bool, now_seconds: float) -> None:
        """Enter or renew panic while over the threshold; leave after a calm stable window."""
        if over:
            self._panicked_seconds = now_seconds
        elif (
            self._panicked_seconds is not None
            and now_seconds > self._panicked_seconds + self.knobs.stable_window_seconds
        ):
            self._panicked_seconds, self._panic_most = None, 0

    def _average(self, since_seconds: float) -> float:
        values = [value for at, value in self._samples if at > since_seconds]
        return sum(values) / len(values)

    def _delayed(self, desired: int, now_seconds: float) -> int:
        self._desired.append((now_seconds, desired))
        while self._desired[0][0] < now_seconds - self.knobs.scale_in_delay_seconds:
            self._desired.popleft()
        return max(size for _, size in self._desired)


class ConcurrencyPanic:
    """Sizes each role by its own requests in flight."""

    def __init__(self, scene: Scene, knobs: ConcurrencyKnobs) -> None:
        self._profile, self._slo, self._knobs = scene.profile, scene.settings.slo, knobs
        self._pools = PerRole.of(lambda _: Panicking(knobs))

    def size(
        self, seen: Observation, pools: PerRole[PoolState], now_seconds: float
    ) -> PerRole[int | None]:
        """Follow each role's own concurrency; an unknown one holds its role."""
        shape = shape_of(seen, None)
        if shape is None:
            return PerRole(None, None)
        replica = Replica.under(self._profile, self._slo, shape)
        share = self._knobs.target_utilisation_fraction / self._knobs.headroom
        full = PerRole(self._knobs.prompts_per_replica, float(replica.batch_within_slo))
        targets = full.map(lambda most: most * share)
        flight = seen.waiting_requests.zip(seen.running_requests).map(
            lambda counts: None if None in counts else sum(count or 0.0 for count in counts)
        )

        def one(
            both: tuple[tuple[PoolState, Panicking], tuple[float | None, float]],
        ) -> int | None:
            (pool, panicking), (in_flight, target) = both
            if in_flight is None:
                return None
            return panicking.size(pool, in_flight, target, now_seconds)

        return pools.zip(self._pools).zip(flight.zip(targets)).map(one)
