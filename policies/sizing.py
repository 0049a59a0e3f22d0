"""The pair wanted in a tick and the first move towards it, from all that is known in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from policies.backlog import Backlog, Congestion, diagnose, drained, left_when_ready, normal_queue
from policies.calibration import drift_notes, slowed
from policies.capacity import Capacity
from policies.config import PolicySettings
from policies.coupling import Solution, share_out, solve
from policies.demand import LOADS, Demand, Load, Shape
from policies.facts import at_least, beside_stuck, supply
from policies.lattice import Lattice
from policies.level import Levels
from policies.memory import Memory
from policies.outlook import floor, outlook
from policies.plan import plan
from policies.profile import Profile
from policies.surge import QueueReading, surge
from policies.types import Binding, Observation, PerRole, PoolState, Role

# Two standard deviations of the difference between two levels, as a factor on that of one.
_SURE = 2.0 * math.sqrt(2.0)


@dataclass(frozen=True, slots=True)
class Sizing:
    """The pair wanted, the first move towards it, what of that will last, and notes.

    Of what there is, `kept` are those that a queue needs, whatever the move would give back.
    Work that waits is worked off once: replicas for it need not stay as long as those for arrivals.
    `now` is the level of the load that is seen, without what waits; `backlog` is what waits of it,
    and `falling` are the roles whose load surely falls.
    """

    solution: Solution
    planned: PerRole[int]
    kept: PerRole[int]
    lasting: PerRole[int]
    now: Load
    falling: PerRole[bool]
    backlog: PerRole[float]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Circumstances:
    """One tick: what is seen of which pools, and what is remembered, the newest load included.

    `queue` is the newest reading of prefill's queue, the one before it is remembered.
    """

    observation: Observation
    pools: PerRole[PoolState]
    queue: QueueReading | None
    levels: Levels
    memory: Memory
    profile: Profile
    settings: PolicySettings

    @property
    def shape(self) -> Shape:
        """The requests of the last minutes."""
        if self.memory.shape is None:
            raise ValueError("there is a load to size for only once it was noted in memory")
        return self.memory.shape

    def size(self) -> Sizing:
        """Size; where a role cannot reach its size, size the other beside what it can reach.

        The role itself keeps the size wanted, so that what is stuck is still asked for.
        """
        most = supply(self.pools)
        wanted = self._size(self.settings)
        lacks = wanted.solution.replicas.zip(most).map(
            lambda pair: pair[1] is not None and pair[0] > pair[1]
        )
        if not any(lacks):
            return wanted
        gpus = self.profile.gpus_per_replica
        beside = self._size(beside_stuck(self.settings, self.pools, wanted.solution.replicas, gpus))
        replicas = PerRole.of(
            lambda role: (wanted if lacks[role] else beside).solution.replicas[role]
        )
        solution = replace(beside.solution, replicas=replicas)
        return replace(beside, solution=solution, planned=replicas, kept=replicas)

    def _size(self, settings: PolicySettings) -> Sizing:
        """Size for the outlook and for the work that waits."""
        memory, slowness = self.memory, self._slowness
        profile = slowed(self.profile, slowness)
        seen = self.levels.surging(self.surge)
        least = floor(settings, memory.seconds[-1]).map(
            lambda rate: self.shape.load_of(self.profile, rate)
        )
        demand = Demand(
            load=outlook(memory.trackers, seen, least).slowed(slowness.prefill),
            shape=self.shape,
            arrival_dispersion=memory.dispersion(settings.arrival_dispersion),
            kv_held_factor=memory.kv_held_factor.mean,
        )
        current = self.pools.map(lambda pool: pool.desired_replicas)
        before = memory.sizes[-1].replicas if memory.sizes else None
        solution = solve(demand, profile, settings, current, before)
        now = replace(demand, load=seen.now.slowed(slowness.prefill))
        if Binding.BUDGET in solution.binding:
            solution = share_out(solution, now, current)
        planned = plan(solution, now, self.pools)
        lasting = self._surely(planned, solution)
        waiting = self._backlog()
        if not waiting.calm and Binding.BUDGET not in solution.binding:
            # Where GPUs are short already, a backlog would only move them to and fro.
            demand = drained(demand, waiting, profile, settings.drain_seconds)
            solution = solve(demand, profile, settings, current)
            if Binding.BUDGET in solution.binding:
                arrivals = solve(now, profile, settings, current).replicas
                solution = solve(demand, profile, at_least(settings, arrivals), current)
            planned = solution.replicas
        notes = (waiting.note, solution.shortfall, *drift_notes(memory.calibration))
        told = tuple(note for note in notes if note)
        kept = self._kept(planned)
        backlog, falling = waiting.requests, seen.falling
        return Sizing(solution, planned, kept, lasting, seen.now, falling, backlog, told)

    def _surely(self, planned: PerRole[int], solution: Solution) -> PerRole[int]:
        """What is planned, and of what that would give back, no more than is surely right.

        That is what would do for a load above the one planned for by as much as chance may move it
        within minutes. A pool at the edge of a size would otherwise leave it and come back.
        """
        current = self.pools.map(lambda pool: pool.desired_replicas)
        if Binding.BUDGET in solution.binding or all(planned[r] >= current[r] for r in Role):
            return planned
        capacity = solution.capacity
        load = Load.of(
            load.value(capacity.demand.load) * (1.0 + _SURE * noise)
            for load, noise in zip(LOADS, self.levels.noise_fractions, strict=True)
        )
        demand = replace(capacity.demand, load=load)
        needed = Lattice(replace(capacity, demand=demand)).cheapest(current) or current
        return PerRole.of(lambda role: max(planned[role], min(current[role], needed[role])))

    @property
    def believed(self) -> PerRole[float]:
        """By how much replicas are believed to be slower than their profile."""
        if not self.settings.calibrate:
            return PerRole(1.0, 1.0)
        return self.memory.calibration.map(lambda belief: belief.factor)

    @property
    def _slowness(self) -> PerRole[float]:
        """By how much replicas are taken to be slower than their profile."""
        if not self.settings.calibrate:
            return PerRole(1.0, 1.0)
        return self.memory.calibration.map(lambda belief: belief.sized_factor)

    def _kept(self, planned: PerRole[int]) -> PerRole[int]:
        """Nothing less than there is of a role that has a queue to work off.

        What a replica asked for now would find of the queue is nothing when those on their way are
        enough; they are enough only as long as none of them is cancelled. A queue in front of
        prefill that decode holds up is no reason for more prefill, but is there still when decode
        has grown: then what was cancelled is missed.
        """
        in_front = self.observation.waiting_requests.prefill or 0.0
        normal = normal_queue(self.observation, self.settings)
        queued = PerRole(in_front > normal, not self._standing.calm)
        return PerRole.of(
            lambda role: (
                max(planned[role], self.pools[role].desired_replicas)
                if queued[role]
                else planned[role]
            )
        )

    @cached_property
    def _standing(self) -> Backlog:
        slots = self.pools.decode.ready_replicas * self.profile.decode.max_sequences
        return diagnose(self.observation, self.settings, slots)

    def _backlog(self) -> Backlog:
        """What waits, and in front of prefill as much of it as replicas asked for now will find."""
        waiting = self._standing
        if not waiting.requests.prefill:
            return waiting
        left = left_when_ready(
            waiting.requests.prefill,
            self.memory.arrivals[-1] * self.surge,
            self._served_per_replica,
            self.pools.prefill,
            self.settings.prefill.startup_seconds,
            self._age_seconds,
        )
        return replace(waiting, requests=waiting.requests.but(Role.PREFILL, left))

    @property
    def _age_seconds(self) -> float:
        """How long ago the queue was what is known of it."""
        return self.observation.observed_at_seconds - self.queue.at_seconds if self.queue else 0.0

    @cached_property
    def _served_per_replica(self) -> float:
        """Prompts per second that a busy prefill replica takes, as fast as it is believed to be."""
        now = Demand(load=self.memory.loads[-1], shape=self.shape)
        as_told = Capacity(self.profile, self.settings, now).prefill
        if as_told.erlangs <= 0.0:
            return 0.0
        return 1.0 / as_told.slowed(self.memory.calibration.prefill.factor).batched_seconds

    @cached_property
    def surge(self) -> float:
        """Arrivals of the last seconds over those of the window, by the growth of prefill's queue.

        Where decode is full, prefill's queue grows because KV cannot leave, and tells nothing.
        """
        usage = self.observation.kv_usage_fraction
        full = usage is not None and usage >= 1.0 - self.settings.kv_headroom_fraction
        if full or self._standing.congestion is not Congestion.NONE:
            return 1.0
        return surge(
            self.memory.queue,
            self.queue,
            self.observation.requests_per_second,
            self._served_per_replica,
            self.memory.dispersion(self.settings.arrival_dispersion),
        )
