"""Two autoscalers, then a projection into a range of ratios: kthena's disaggregated target."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pydantic import Field, NonNegativeFloat, PositiveFloat

from policies.types import Observation, PerRole, PoolState
from replay.baselines.behaviour import Behaved, Behaviour, recommend_for_ratio
from replay.baselines.replica import utilisation
from replay.baselines.rule import Knobs
from replay.scene import Scene
from replay.sizing import initial_pair

# Panic: by 1000% at once from twice the target on, held for 60 s.
_PANIC_BEHAVIOUR = Behaviour(scale_out_fraction=10.0)


class RangeKnobs(Knobs):
    """Tolerance, stable policy (1 replica or 100% in 15 s) and panic are the defaults read there.

    It has no default range: half to one and a half times the ratio of the initial pair is taken.
    """

    target_fraction: float = Field(default=0.7, gt=0, le=1)
    behaviour: Behaviour = Behaviour(scale_out_pods=1)
    panic_threshold: PositiveFloat = 2.0
    panic_hold_seconds: NonNegativeFloat = 60.0
    ratio_slack: float = Field(default=0.5, ge=0, lt=1)


@dataclass
class _Scaler:
    """One role's autoscaler: how it behaves when calm and in panic, and until when it panics."""

    knobs: RangeKnobs
    calm: Behaved
    panic: Behaved = field(default_factory=lambda: Behaved(_PANIC_BEHAVIOUR))
    panics_until_seconds: float = -math.inf

    def size(self, pool: PoolState, usage: float, now_seconds: float) -> int:
        """The size that the role's own utilisation asks for."""
        knobs, current = self.knobs, pool.desired_replicas
        ratio = usage * knobs.headroom / knobs.target_fraction
        wanted = recommend_for_ratio(pool.ready_replicas, current, ratio, knobs.behaviour)
        if wanted / current >= knobs.panic_threshold:
            self.panics_until_seconds = now_seconds + knobs.panic_hold_seconds
        panicked = self.panic.apply(current, wanted, now_seconds)
        stable = self.calm.apply(current, wanted, now_seconds)
        return max(current, panicked) if now_seconds <= self.panics_until_seconds else stable


class RatioRange:
    """Sizes each role by its own utilisation, then raises the role that the ratio lacks."""

    def __init__(self, scene: Scene, knobs: RangeKnobs) -> None:
        self._profile, self._settings = scene.profile, scene.settings
        first = initial_pair(scene.trace, scene.profile, scene.settings)
        ratio = first.prefill / first.decode
        self._ratios = (ratio * (1 - knobs.ratio_slack), ratio * (1 + knobs.ratio_slack))
        self._scalers = PerRole.of(lambda _: _Scaler(knobs, Behaved(knobs.behaviour)))

    def size(
        self, seen: Observation, pools: PerRole[PoolState], now_seconds: float
    ) -> PerRole[int | None]:
        """Follow both gauges; when either is unknown both roles hold."""
        used = utilisation(seen, pools, self._profile, self._settings.slo)
        if used.prefill is None or used.decode is None:
            return PerRole(None, None)
        sizes = PerRole.of(
            lambda role: self._scalers[role].size(pools[role], used[role] or 0.0, now_seconds)
        )
        low, high = self._ratios
        most = self._settings.roles.map(lambda role: role.max_replicas)
        return PerRole(*into_range(sizes, low, high, most))


def into_range(sizes: PerRole[int], low: float, high: float, most: PerRole[int]) -> PerRole[int]:
    """Bring prefill over decode into [low, high] by raising the role that falls short.

    Only when that role is at its maximum is the other one lowered. Integers may leave the range:
    1 prefill and 3 decode within 0.5 to 0.5 become 2 and 3.
    """
    prefill, decode = sizes.prefill, sizes.decode
    if prefill < low * decode:
        prefill = min(math.ceil(low * decode - 1e-9), most.prefill)
        decode = max(1, min(decode, int(prefill / low))) if prefill == most.prefill else decode
    elif prefill > high * decode:
        decode = min(math.ceil(prefill / high - 1e-9), most.decode)
        prefill = max(1, min(prefill, int(high * decode))) if decode == most.decode else prefill
    return PerRole(prefill, decode)
