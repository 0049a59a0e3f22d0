"""Replicas in proportion to the queue: KEDA's way with a queue-length trigger."""

from __future__ import annotations

import math

from pydantic import PositiveFloat

from policies.types import Observation, PerRole, PoolState
from replay.baselines.behaviour import Behaved, Behaviour, within_tolerance
from replay.baselines.rule import Knobs
from replay.scene import Scene


class QueueKnobs(Knobs):
    """5 waiting requests per replica, as the vLLM production stack sets its KEDA trigger."""

    waiting_per_replica: PositiveFloat = 5.0
    behaviour: Behaviour = Behaviour()


class QueueProportional:
    """desired = ceil(waiting / target), carried out by an HPA (external metric, average value)."""

    def __init__(self, scene: Scene, knobs: QueueKnobs) -> None:
        self._target = knobs.waiting_per_replica / knobs.headroom
        self._behaviour = knobs.behaviour
        self._least = scene.settings.roles.map(lambda role: role.min_replicas)
        self._behaved = PerRole.of(lambda _: Behaved(knobs.behaviour))

    def size(
        self, seen: Observation, pools: PerRole[PoolState], now_seconds: float
    ) -> PerRole[int | None]:
        """Follow each role's own queue; an unknown queue holds its role."""

        def one(both: tuple[tuple[PoolState, Behaved], tuple[float | None, int]]) -> int | None:
            (pool, behaved), (waiting, least) = both
            if waiting is None:
                return None
            current = pool.desired_replicas
            ratio = waiting / (self._target * current)
            wanted = (
                current
                if within_tolerance(ratio, self._behaviour)
                else math.ceil(waiting / self._target)
            )
            return behaved.apply(current, max(wanted, least), now_seconds)

        return pools.zip(self._behaved).zip(seen.waiting_requests.zip(self._least)).map(one)
