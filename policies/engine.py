"""The one decision that the service and the replay both call."""

from __future__ import annotations

from dataclasses import replace

from policies import guards
from policies.backlog import diagnose, drained
from policies.calibration import corrected, drift_notes, learn
from policies.config import PolicySettings
from policies.coupling import Solution, solve
from policies.demand import Demand, Load, Shape, shape_of
from policies.lengths import Lengths
from policies.memory import Memory, Sized
from policies.outlook import outlook
from policies.profile import Profile
from policies.types import (
    Decision,
    Hold,
    HoldReason,
    Limiter,
    Observation,
    PerRole,
    Pools,
    PoolState,
    Unavailable,
)

# Stands in for the shape of requests where none was ever seen and none arrive.
_NO_REQUESTS = Shape(
    prompt_tokens=Lengths((1.0,), (1.0,)), prefix_hit_fraction=0.0, output_tokens_mean=1.0
)


class Engine:
    """Sizes both pools. Pure: the same arguments give the same decision."""

    def __init__(self, profile: Profile, settings: PolicySettings) -> None:
        self.profile = profile
        self.settings = settings

    def decide(
        self, observation: Observation, pools: Pools, memory: Memory, now_seconds: float
    ) -> tuple[Decision, Memory]:
        """Decide what should run now; return it with the memory for the next tick.

        Unknown demand or unknown pools give a hold that says what is missing; neither can ever
        scale in.
        """
        found = known_pools(pools)
        if isinstance(found, Hold):
            return _hold(found, None, now_seconds), memory
        current = found.map(lambda pool: pool.desired_replicas)
        seen = self._see(observation, memory, now_seconds)
        if isinstance(seen, Hold):
            return _hold(seen, current, now_seconds), memory
        load, shape = seen
        memory = memory.with_load(now_seconds, load, shape, self.settings.memory_points)
        if 0 in current:
            reason = "a pool stands at 0 replicas: whoever scaled it there must scale it up again"
            hold = Hold(HoldReason.SCALED_TO_ZERO, reason)
            return _hold(hold, current, now_seconds), memory
        memory = self._learn(observation, found, memory, shape)
        memory = memory.with_dispersion(observation.arrival_dispersion)
        profile = corrected(self.profile, memory.calibration)
        waiting = diagnose(observation, self.settings)
        load = outlook(memory, shape, self.settings, now_seconds)
        demand = Demand(
            load=load.slowed(memory.calibration.prefill.factor),
            shape=shape,
            arrival_dispersion=memory.arrival_dispersion or self.settings.arrival_dispersion,
        )
        demand = drained(demand, waiting, profile, self.settings.drain_seconds)
        solution = solve(demand, profile, self.settings)
        notes = (waiting.note, solution.shortfall, *drift_notes(memory.calibration))
        return self._settle(solution, notes, found, memory, now_seconds)

    def _learn(
        self, observation: Observation, found: PerRole[PoolState], memory: Memory, shape: Shape
    ) -> Memory:
        if not self.settings.calibrate:
            return memory
        return replace(
            memory,
            calibration=learn(
                memory.calibration, observation, found, shape, self.profile, memory.step_seconds
            ),
        )

    def _see(
        self, observation: Observation, memory: Memory, now_seconds: float
    ) -> tuple[Load, Shape] | Hold:
        """Turn an observation into the load offered now, or say why it cannot be known."""
        age = now_seconds - observation.observed_at_seconds
        if age > self.settings.guards.stale_after_seconds:
            return Hold(HoldReason.METRICS_STALE, f"the newest metrics are {age:.0f} s old")
        rate = observation.requests_per_second
        if rate is None:
            why = "; ".join(observation.problems) or "no arrival rate"
            return Hold(HoldReason.METRICS_UNKNOWN, why)
        shape = shape_of(observation, memory.shape)
        if shape is None and rate == 0:
            shape = _NO_REQUESTS
        if shape is None:
            why = "requests arrive, but their prompt or output lengths were never seen"
            return Hold(HoldReason.METRICS_UNKNOWN, "; ".join((why, *observation.problems)))
        return shape.load_of(self.profile, rate), shape

    def _settle(
        self,
        solution: Solution,
        notes: tuple[str | None, ...],
        found: PerRole[PoolState],
        memory: Memory,
        now_seconds: float,
    ) -> tuple[Decision, Memory]:
        """Pass the solved pair through the guards and say what came of it."""
        current = found.map(lambda pool: pool.desired_replicas)
        window = self.settings.guards.scale_in_window_seconds
        if not memory.sizes_since(now_seconds - window):
            # After a restart or an outage the size found is all that is known to be needed.
            memory = memory.with_size(Sized(now_seconds, current), window)
        memory = memory.with_size(Sized(now_seconds, solution.replicas), window)
        target, limiters = guards.apply(
            guards.Context(
                current=current,
                wanted=solution.replicas,
                recent=memory.sizes_since(now_seconds - window),
                gpus_per_replica=self.profile.gpus_per_replica,
                settings=self.settings,
                rollout=found.map(lambda pool: pool.rollout_in_progress),
            )
        )
        decision = Decision(
            decided_at_seconds=now_seconds,
            current=current,
            target=target,
            raw=solution.replicas,
            expected=solution.expected,
            binding=solution.binding,
            hold=_why_nothing_changes(current, target, solution.replicas, limiters),
            limiters=limiters,
            notes=tuple(note for note in notes if note),
        )
        return decision, memory


def known_pools(pools: Pools) -> PerRole[PoolState] | Hold:
    """Both pools, or the hold that says which could not be read."""
    prefill, decode = pools
    if isinstance(prefill, PoolState) and isinstance(decode, PoolState):
        return PerRole(prefill, decode)
    unknown = [
        f"{role}: {pool.why}" for role, pool in pools.items() if isinstance(pool, Unavailable)
    ]
    return Hold(HoldReason.POOL_UNKNOWN, "; ".join(unknown))


def _hold(hold: Hold, current: PerRole[int] | None, now_seconds: float) -> Decision:
    return Decision(decided_at_seconds=now_seconds, current=current, target=current, hold=hold)


def _why_nothing_changes(
    current: PerRole[int], target: PerRole[int], wanted: PerRole[int], limiters: tuple[Limiter, ...]
) -> Hold | None:
    if target != current:
        return None
    if wanted == current:
        return Hold(HoldReason.ALREADY_RIGHT, "the pools already have the size wanted")
    last = limiters[-1]
    return Hold(_REASON_OF_GUARD[last.name], last.why)


_REASON_OF_GUARD = {
    "stabilise_scale_in": HoldReason.SCALE_IN_STABILISING,
    "limit_scale_out": HoldReason.SCALE_OUT_LIMIT,
    "freeze_rollout": HoldReason.ROLLOUT_IN_PROGRESS,
    "fit_budget": HoldReason.BUDGET,
    "keep_bounds": HoldReason.BOUNDS,
}
