"""One Kubernetes HPA per role on utilisation."""

from __future__ import annotations

from pydantic import Field

from policies.types import Observation, PerRole, PoolState
from replay.baselines.behaviour import Behaved, Behaviour, recommend_for_ratio
from replay.baselines.replica import utilisation
from replay.baselines.rule import Knobs
from replay.scene import Scene


class HpaKnobs(Knobs):
    """Target 0.7 is what most guides set; all else is the Kubernetes default."""

    target_fraction: float = Field(default=0.7, gt=0, le=1, description="utilisation aimed at")
    behaviour: Behaviour = Behaviour()


class Hpa:
    """desired = ceil(current * utilisation / target), per role, without knowing the other role."""

    def __init__(self, scene: Scene, knobs: HpaKnobs) -> None:
        self._profile, self._slo = scene.profile, scene.settings.slo
        self._target = knobs.target_fraction / knobs.headroom
        self._behaviour = knobs.behaviour
        self._behaved = PerRole.of(lambda _: Behaved(knobs.behaviour))

    def size(
        self, seen: Observation, pools: PerRole[PoolState], now_seconds: float
    ) -> PerRole[int | None]:
        """Follow each role's own gauge; a gauge that is unknown holds its role."""
        used = utilisation(seen, pools, self._profile, self._slo)

        def one(both: tuple[tuple[PoolState, Behaved], float | None]) -> int | None:
            (pool, behaved), usage = both
            if usage is None:
                return None
            current = pool.desired_replicas
            wanted = recommend_for_ratio(
                pool.ready_replicas, current, usage / self._target, self._behaviour
            )
            return behaved.apply(current, wanted, now_seconds)

        return pools.zip(self._behaved).zip(used).map(one)
