"""The one decision that the service and the replay both call."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from forecasting.tracker import Tracker
from policies import guards
from policies.answers import as_arrived
from policies.backlog import diagnose
from policies.calibration import learn
from policies.config import PolicySettings
from policies.demand import Demand, Load, Shape, kv_held_factor, rate_of, shape_of
from policies.evidence import Witness
from policies.facts import (
    as_found,
    complete,
    fit_notes,
    fitting,
    floor_notes,
    floored,
    halved,
    lately,
    leave_to_others,
    measured_leads,
    pool_notes,
    ratio_notes,
    tightening,
    with_leads,
    within,
)
from policies.fallback import decide_blind
from policies.foresight import Foresight
from policies.lengths import Lengths
from policies.level import Levels, levels_of
from policies.memory import Memory, Sized
from policies.outlook import follow, told, turn_notes
from policies.profile import Profile
from policies.rise import called_for, noted
from policies.sizing import Circumstances, Sizing
from policies.surge import QueueReading
from policies.types import (
    Binding,
    Decision,
    GpuCap,
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
    prompt_tokens=Lengths((1.0,), (1.0,)),
    prefix_hit_fraction=0.0,
    output_tokens=Lengths((1.0,), (1.0,)),
)


class Engine:
    """Sizes both pools. Pure: the same arguments give the same decision."""

    def __init__(self, profile: Profile, settings: PolicySettings) -> None:
        self.profile = profile
        self.settings = settings

    def decide(
        self,
        observation: Observation,
        pools: Pools,
        memory: Memory,
        now_seconds: float,
        cap: GpuCap | None = None,
    ) -> tuple[Decision, Memory]:
        """Decide what should run now; return it with the memory for the next tick.

        Unknown demand or unknown pools give a hold that says what is missing; neither can ever
        scale in. `cap` is what the cluster grants now, in addition to the configured budget.
        """
        found = known_pools(pools)
        if isinstance(found, Hold):
            return _hold(found, None, now_seconds), memory
        leads = measured_leads(memory.lead_seconds, found, self.settings.forecast.step_seconds)
        if leads != memory.lead_seconds:
            memory = replace(memory, lead_seconds=leads)
        profile, notes = as_found(self.profile, found)
        fits = fitting(floored(with_leads(self.settings, leads), found), cap, found)
        granted, cap = cap, tightening(self.settings, cap)
        here = Engine(profile, within(fits, cap))
        decision, memory = here._decide(observation, found, memory, now_seconds, cap)
        intent = lately(memory.intent, now_seconds)
        left = halved(intent, found.map(lambda pool: pool.desired_replicas))
        notes = (*notes, *fit_notes(granted, decision))
        notes = (*notes, *floor_notes(self.settings, found, decision), *pool_notes(found))
        if left:
            notes = (*notes, left)
        if notes or cap:
            decision = replace(decision, notes=(*decision.notes, *notes), cap=cap)
        decision = leave_to_others(complete(decision, intent), found)
        return decision, memory if memory.intent is None else replace(memory, intent=None)

    def _decide(
        self,
        observation: Observation,
        found: PerRole[PoolState],
        memory: Memory,
        now_seconds: float,
        cap: GpuCap | None,
    ) -> tuple[Decision, Memory]:
        """Decide with what the cluster says of itself already in profile and settings."""
        current = found.map(lambda pool: pool.desired_replicas)
        seen = self._see(observation, memory, now_seconds)
        if isinstance(seen, Hold):
            blind_seconds = now_seconds - memory.seconds[-1] if memory.seconds else None
            gpus, settings = self.profile.gpus_per_replica, self.settings
            return decide_blind(seen, current, blind_seconds, settings, gpus, now_seconds), memory
        rate, load, shape = seen
        followed = memory.trackers
        memory, levels = self._note(
            memory, rate, load, shape, observation.window_seconds, now_seconds
        )
        if 0 in current:
            empty = " and ".join(role for role, count in current.items() if count == 0)
            reason = f"{empty} stands at 0 replicas: whoever scaled it there must scale it up again"
            hold = Hold(HoldReason.SCALED_TO_ZERO, reason)
            return _hold(hold, current, now_seconds), memory
        memory = memory.with_traits(
            observation.arrival_dispersion,
            self.settings.arrival_dispersion,
            kv_held_factor(observation, found.decode.ready_replicas, shape, self.profile),
        )
        unserved = memory.unserved.after(observation, found, memory.step_seconds)
        memory, observation = replace(memory, unserved=unserved), unserved.taken_from(observation)
        queue = QueueReading.of(observation, found.prefill.ready_replicas, memory.queue)
        memory = self._learn(observation, found, memory, Demand(load=load, shape=shape), queue)
        here = Circumstances(observation, found, queue, levels, memory, self.profile, self.settings)
        sizing = here.size()
        memory = self._with_size(memory, sizing.lasting, current)
        decision = _settled(sizing, self._bounds(sizing, found, observation, memory, cap))
        asked = called_for(decision.target or current, decision.limiters)
        memory = replace(
            memory,
            rises=noted(memory.rises, now_seconds, current, asked),
            queue=queue,
        )
        return self._told(decision, here, sizing, followed, cap), memory

    def _told(
        self,
        decision: Decision,
        here: Circumstances,
        sizing: Sizing,
        followed: tuple[Tracker, ...],
        cap: GpuCap | None,
    ) -> Decision:
        """The decision with all that it was made from."""
        trackers = here.memory.trackers
        unserved = here.memory.unserved.note
        notes = (*sizing.notes, unserved) if unserved else sizing.notes
        if cap and Binding.BUDGET in decision.binding:
            notes = (*notes, f"the GPU budget is what the cluster grants: {cap.source}")
        notes = (*notes, *ratio_notes(self.settings, decision), *turn_notes(followed, trackers))
        forecasts, capacity = told(trackers), sizing.solution.capacity
        foresight = Foresight(capacity, self.profile, here.believed, sizing.now, forecasts)
        return replace(
            decision,
            notes=notes,
            forecasts=forecasts,
            foresight=foresight,
            backlog=sizing.backlog,
            unserved=here.memory.unserved.leaked,
        )

    def _learn(
        self,
        observation: Observation,
        found: PerRole[PoolState],
        memory: Memory,
        now: Demand,
        queue: QueueReading | None,
    ) -> Memory:
        """Compare what is observed with what the profile predicts for it."""
        if not self.settings.calibrate:
            return memory
        now_seconds = memory.seconds[-1]
        queued_at = memory.queued_at_seconds
        if queued_at is None or not diagnose(observation, self.settings).calm:
            queued_at = now_seconds
        witness = Witness(
            observation=observation,
            pools=found,
            demand=replace(
                now,
                arrival_dispersion=memory.dispersion(1.0),
                kv_held_factor=memory.kv_held_factor.mean,
            ),
            profile=self.profile,
            settings=self.settings,
            queue_before=memory.queue,
            queue_now=queue,
            calm_seconds=now_seconds - queued_at,
        )
        evidence = witness.evidence(memory.calibration)
        return replace(
            memory,
            calibration=learn(memory.calibration, evidence, memory.step_seconds),
            queued_at_seconds=queued_at,
        )

    def remember(self, past: Iterable[Observation], memory: Memory) -> Memory:
        """Learn the demand of observations made before the first tick, oldest first."""
        here = Engine(self.profile, with_leads(self.settings, memory.lead_seconds))
        for observation in past:
            at = observation.observed_at_seconds
            seen = self._see(observation, memory, at)
            if not isinstance(seen, Hold) and (not memory.seconds or at > memory.seconds[-1]):
                memory, _ = here._note(memory, *seen, observation.window_seconds, at)
        return memory

    def _note(
        self,
        memory: Memory,
        requests_per_second: float,
        load: Load,
        shape: Shape,
        window_seconds: float,
        now_seconds: float,
    ) -> tuple[Memory, Levels]:
        """Remember a load and show its level to the forecast."""
        memory = memory.with_load(now_seconds, requests_per_second, load, shape)
        seen = levels_of(memory, self.settings, window_seconds)
        trackers = follow(memory.trackers, seen.now, self.settings, now_seconds)
        return replace(memory, trackers=trackers), seen

    def _see(
        self, observation: Observation, memory: Memory, now_seconds: float
    ) -> tuple[float, Load, Shape] | Hold:
        """Arrival rate, load and shape of what is offered now, or why they cannot be known."""
        rate = rate_of(observation, self.settings.guards.stale_after_seconds, now_seconds)
        if isinstance(rate, Hold):
            return rate
        shape = shape_of(observation, memory.shape)
        if shape is None and rate == 0:
            shape = _NO_REQUESTS
        if shape is None:
            why = "requests arrive, but their prompt or output lengths were never seen"
            return Hold(HoldReason.METRICS_UNKNOWN, "; ".join((why, *observation.problems)))
        if observation.output_tokens is not None:
            shape = self._as_arrived(shape, observation, memory, now_seconds)
        return rate, shape.load_of(self.profile, rate), shape

    def _as_arrived(
        self, shape: Shape, observation: Observation, memory: Memory, now_seconds: float
    ) -> Shape:
        """The shape of what arrives now: answers that end now belong to earlier arrivals."""
        rate = observation.requests_per_second
        itl_seconds = observation.itl.mean_seconds
        if rate is None or itl_seconds is None:
            return shape
        answers = as_arrived(
            shape.output_tokens,
            (*memory.seconds, now_seconds),
            (*memory.arrivals, rate),
            itl_seconds,
        )
        return replace(shape, output_tokens=answers)

    def _with_size(self, memory: Memory, lasting: PerRole[int], current: PerRole[int]) -> Memory:
        """Remember what is needed for longer than a moment, before any guard."""
        now_seconds, window = memory.seconds[-1], self.settings.guards.scale_in_window_seconds
        kept_seconds = guards.SINGLE_STEP_WINDOWS * window
        if not memory.sized_since(now_seconds - window):
            # After a restart or an outage the size found is all that is known to be needed.
            memory = memory.with_size(Sized(now_seconds, current), kept_seconds)
        return memory.with_size(Sized(now_seconds, lasting), kept_seconds)

    def _bounds(
        self,
        sizing: Sizing,
        found: PerRole[PoolState],
        observation: Observation,
        memory: Memory,
        cap: GpuCap | None,
    ) -> guards.Context:
        """What the guards may look at."""
        settings = self.settings
        return guards.Context(
            now_seconds=memory.seconds[-1],
            current=found.map(lambda pool: pool.desired_replicas),
            wanted=sizing.solution.replicas,
            planned=sizing.planned,
            kept=sizing.kept,
            falling=sizing.falling,
            recent=memory.sizes,
            rises=memory.rises,
            gpus_per_replica=self.profile.gpus_per_replica,
            settings=settings,
            rollout=found.map(lambda pool: pool.rollout_in_progress),
            stuck=found.map(lambda pool: pool.stuck_replicas),
            floor=found.map(lambda pool: pool.floor_replicas),
            cap=cap,
            trust=observation.trust,
            doubts=observation.problems,
            slot_begins=memory.begins_slot(settings.guards.scale_in_slot_seconds),
        )


def _settled(sizing: Sizing, bounds: guards.Context) -> Decision:
    """Pass the solved pair through the guards and say what came of it."""
    solution, current = sizing.solution, bounds.current
    target, limiters = guards.apply(bounds)
    return Decision(
        decided_at_seconds=bounds.now_seconds,
        current=current,
        target=target,
        raw=solution.replicas,
        binding=solution.binding,
        hold=_why_nothing_changes(current, target, solution.replicas, limiters),
        limiters=limiters,
    )


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
    "hold_rise": HoldReason.SCALE_IN_STABILISING,
    "stabilise_scale_in": HoldReason.SCALE_IN_STABILISING,
    "scale_in_by_slots": HoldReason.SCALE_IN_STABILISING,
    "keep_for_queue": HoldReason.SCALE_IN_STABILISING,
    "keep_ratio": HoldReason.RATIO,
    "follow_plan": HoldReason.NOT_WORTH_A_START,
    "limit_scale_out": HoldReason.SCALE_OUT_LIMIT,
    "await_stuck": HoldReason.REPLICAS_STUCK,
    "freeze_rollout": HoldReason.ROLLOUT_IN_PROGRESS,
    "grow_on_partial_metrics": HoldReason.METRICS_PARTIAL,
    "fit_budget": HoldReason.BUDGET,
    "keep_bounds": HoldReason.BOUNDS,
    "keep_floor": HoldReason.FLOOR,
}
