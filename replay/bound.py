"""How few GPU-hours a planner that knew the future would have needed.

Two numbers, because neither alone is honest. `relaxed_gpu_hours` solves a fluid model in which
work flows without queues or chance: nothing real reaches it. `clairvoyant` replays schedules made
with the true demand until one attains the objective, and cuts it down: it is the cheapest found,
and not proven to be the cheapest there is. Both bill start-up and keep limits and budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from policies.capacity import Capacity
from policies.demand import Demand, Load
from policies.horizon import Path, cheapest_path
from policies.memory import Memory
from policies.types import Decision, Observation, PerRole, Pools, Role
from replay.baselines.replica import Replica
from replay.requests import Floats
from replay.scene import Scene
from replay.scoring import Score
from replay.sizing import Offered, offered

_LONGEST_IN_MINUTES_SECONDS = 12 * 3600.0
_LOAD_FACTORS = (0.9, 1.0, 1.15)
_BISECTIONS = 6
_LARGEST_PRICE = 1e5  # GPU-seconds for one request


@dataclass(frozen=True, slots=True)
class Schedule:
    """Sizes that must be ready in each slot; a policy that knew them in advance."""

    slot_seconds: float
    sizes: tuple[PerRole[int], ...]
    lead_seconds: PerRole[float]

    def decide(
        self,
        observation: Observation,  # noqa: ARG002 - a policy's signature
        pools: Pools,  # noqa: ARG002 - a policy's signature
        memory: Memory,
        now_seconds: float,
    ) -> tuple[Decision, Memory]:
        """Ask for each replica one lead time before its slot, and keep it until the slot ends.

        The lead is the start-up time and a tick, the next chance to ask. A gap shorter than the
        start-up time is bridged: waiting costs no more than starting again.
        """
        target = PerRole.of(lambda role: self._needed(role, now_seconds))
        return Decision(decided_at_seconds=now_seconds, current=None, target=target), memory

    def _needed(self, role: Role, now_seconds: float) -> int:
        until = now_seconds + self.lead_seconds[role]
        last = len(self.sizes) - 1
        first = min(int(now_seconds / self.slot_seconds), last)
        end = min(math.ceil(until / self.slot_seconds), last + 1)
        return max(size[role] for size in self.sizes[first : max(end, first + 1)])

    def with_size(self, role: Role, slots: slice, size: int) -> Schedule:
        """The same with another size of one role in some slots."""
        changed = list(self.sizes)
        for slot in range(*slots.indices(len(changed))):
            changed[slot] = changed[slot].but(role, size)
        return Schedule(self.slot_seconds, tuple(changed), self.lead_seconds)


@dataclass(frozen=True)
class _Grid:
    """The true demand per slot, and the pairs that may serve it."""

    scene: Scene

    @cached_property
    def demand(self) -> Offered:
        """Demand in slots of a minute, or of five for a long trace."""
        demand = offered(self.scene.trace, self.scene.truth, self.scene.settings)
        if len(demand) * demand.window_seconds <= _LONGEST_IN_MINUTES_SECONDS:
            return demand
        return offered(
            self.scene.trace, self.scene.truth, self.scene.settings, window_seconds=300.0
        )

    @cached_property
    def startup_seconds(self) -> PerRole[float]:
        """Start-up of each role as the fleet has it, the median."""
        return self.scene.physics.startup_seconds.map(lambda startup: startup.median_seconds)

    @cached_property
    def _most(self) -> PerRole[int]:
        load, replica = self.demand.peak_demand().load, self._replica
        needed = PerRole(
            load.prefill_erlangs,
            load.decode_tokens_per_second / replica.tokens_per_second_within_slo,
        )
        high = self.scene.settings.roles.map(lambda role: role.max_replicas)
        return (
            needed.zip(high)
            .zip(self.scene.initial)
            .map(lambda x: max(min(math.ceil(x[0][0] * 1.6) + 4, x[0][1]), x[1]))
        )

    @cached_property
    def _replica(self) -> Replica:
        demand = self.demand.peak_demand()
        return Replica.under(self.scene.truth, self.scene.settings.slo, demand.shape)

    @cached_property
    def _held(self) -> Floats:
        """GPU-seconds of each pair in one slot; infinite outside limits and budget."""
        settings, cost = self.scene.settings, self.scene.truth.gpus_per_replica
        prefill, decode = (np.arange(most + 1) for most in self._most)
        gpus = (prefill[:, None] * cost.prefill + decode[None, :] * cost.decode).astype(np.float64)
        if settings.gpu_budget is not None:
            gpus[gpus > settings.gpu_budget] = np.inf
        gpus[: settings.prefill.min_replicas, :] = np.inf
        gpus[:, : settings.decode.min_replicas] = np.inf
        return gpus * self.demand.window_seconds

    def path(self, price: float, missed: Callable[[int], Floats]) -> Path:
        """Cheapest path when a missed request costs `price` GPU-seconds.

        Before one start-up time has passed, nobody can have more than the initial pair.
        """
        startup, initial = self.startup_seconds, self.scene.initial
        cost = self.scene.truth.gpus_per_replica
        slots_of_startup = startup.map(lambda s: math.ceil(s / self.demand.window_seconds))

        def slot_cost(slot: int) -> Floats:
            total = self._held + price * missed(slot)
            if slot < slots_of_startup.prefill:
                total[initial.prefill + 1 :, :] = np.inf
            if slot < slots_of_startup.decode:
                total[:, initial.decode + 1 :] = np.inf
            return total

        starts = startup.zip(cost).map(lambda both: both[0] * both[1])
        return cheapest_path(len(self.demand), slot_cost, starts, initial)

    def missed_in_fluid(self, slot: int) -> Floats:
        """Requests of a slot that exceed what flows through a pair: an optimist's count.

        Prefill shares the base time of full batches and may finish a slot's work up to the TTFT
        objective later; decode runs the largest batch within the ITL objective at all times.
        """
        demand, law, slo = self.demand, self.scene.truth.prefill, self.scene.settings.slo
        seconds = demand.window_seconds
        batches = demand.prompt_tokens[slot] / 8192
        work = demand.prefill_erlangs[slot] * seconds
        work -= max(demand.requests[slot] - batches, 0.0) * law.base_seconds
        needed = PerRole(
            max(work, 0.0) / (seconds + slo.ttft_seconds),
            demand.decode_tokens_per_second[slot] / self._replica.tokens_per_second_within_slo,
        )
        prefill, decode = (
            np.minimum(np.arange(most + 1) / need, 1.0) if need > 0 else np.ones(most + 1)
            for most, need in zip(self._most, needed, strict=True)
        )
        return np.asarray(
            demand.requests[slot] * (1 - np.minimum(prefill[:, None], decode[None, :]))
        )

    def missed_with_queues(self, load_factor: float) -> Callable[[int], Floats]:
        """Requests of a slot that would miss under steady load `load_factor` times the true one."""
        shares = [self._shares(slot, load_factor) for slot in range(len(self.demand))]
        requests = self.demand.requests
        return lambda slot: np.asarray(
            requests[slot] * (1 - shares[slot][0][:, None] * shares[slot][1][None, :])
        )

    def _shares(self, slot: int, load_factor: float) -> tuple[Floats, Floats]:
        demand = self.demand.peak_demand(slice(slot, slot + 1))
        load = _times(demand.load, load_factor)
        capacity = Capacity(
            self.scene.truth, self.scene.settings, Demand(load=load, shape=demand.shape)
        )
        most, slo = self._most, self.scene.settings.slo
        decodes = [capacity.decode(count) for count in range(1, most.decode + 1)]
        prefill = [
            capacity.ttft_attainment(
                PerRole(count, max(count, most.decode)),
                capacity.prefill_wait(count),
                decodes[-1],
                slo.ttft_objective_seconds,
            )
            for count in range(1, most.prefill + 1)
        ]
        decode = [
            state.itl_attainment * (1 - state.admission_wait.tail(slo.ttft_seconds / 2))
            for state in decodes
        ]
        return np.array([0.0, *prefill]), np.array([0.0, *decode])


def _times(load: Load, factor: float) -> Load:
    return Load(
        prefill_erlangs=load.prefill_erlangs * factor,
        decode_tokens_per_second=load.decode_tokens_per_second * factor,
        kv_token_steps_per_second=load.kv_token_steps_per_second * factor,
    )


def relaxed_gpu_hours(scene: Scene) -> float:
    """Least GPU-hours of the fluid model at the objective, by its Lagrangian dual.

    Every price gives a lower bound on the fluid optimum: the cheapest path, with what it misses
    beyond the share allowed charged to it. The best of them is returned.
    """
    grid = _Grid(scene)
    allowed = (1 - scene.settings.slo.attainment_fraction) * float(grid.demand.requests.sum())
    prices = np.geomspace(0.1, _LARGEST_PRICE, 25)
    return (
        max(
            float(grid.path(price, grid.missed_in_fluid).cost - price * allowed) for price in prices
        )
        / 3600
    )


@dataclass(frozen=True, slots=True)
class _Found:
    schedule: Schedule
    score: Score

    @property
    def attained(self) -> float:
        return self.score.joint_attainment or 0.0


def clairvoyant(scene: Scene, *, cuts: int = 60) -> Schedule:
    """Find the cheapest schedule that attains the objective in replay.

    Candidates come from dynamic programming over the true demand with queueing, at several load
    factors, each with the least price per miss that attains (by bisection). The cheapest is then
    cut: replicas are taken away stretch by stretch while it still attains, in at most `cuts`
    replays. When none attains, the one that comes nearest is returned.
    """
    grid, objective = _Grid(scene), scene.settings.slo.attainment_fraction
    candidates = [_attaining(grid, factor, objective) for factor in _LOAD_FACTORS]
    attaining = [found for found in candidates if found.attained >= objective]
    if not attaining:
        return max(candidates, key=lambda found: found.attained).schedule
    best = min(attaining, key=lambda found: found.score.gpu_hours)
    return _cut(scene, best, objective, cuts).schedule


def _attaining(grid: _Grid, load_factor: float, objective: float) -> _Found:
    """Bisect on the logarithm of the price for the cheapest schedule that attains."""
    missed = grid.missed_with_queues(load_factor)
    lead_seconds = grid.startup_seconds.map(lambda seconds: seconds + grid.scene.tick_seconds)

    def at(price: float) -> _Found:
        sizes = grid.path(price, missed).pairs
        schedule = Schedule(grid.demand.window_seconds, sizes, lead_seconds)
        return _Found(schedule, grid.scene.play(schedule))

    best, low, high = at(_LARGEST_PRICE), 0.0, math.log(_LARGEST_PRICE)
    if best.attained < objective:
        return best
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = at(math.exp(middle))
        if found.attained >= objective:
            high = middle
            best = min(best, found, key=lambda each: each.score.gpu_hours)
        else:
            low = middle
    return best


def _cut(scene: Scene, best: _Found, objective: float, cuts: int) -> _Found:
    """Lower one stretch of constant size after the other, the dearest first, until none can be."""
    least = scene.settings.roles.map(lambda role: role.min_replicas)
    refused: set[tuple[Role, int, int, int]] = set()
    for _ in range(cuts):
        stretches = [
            stretch
            for stretch in _stretches(best.schedule)
            if stretch not in refused and stretch[3] > least[stretch[0]]
        ]
        if not stretches:
            break
        cost = scene.truth.gpus_per_replica
        role, first, end, size = longest = max(
            stretches, key=lambda stretch: (stretch[2] - stretch[1]) * cost[stretch[0]]
        )
        schedule = best.schedule.with_size(role, slice(first, end), size - 1)
        found = _Found(schedule, scene.play(schedule))
        if found.attained >= objective and found.score.gpu_hours < best.score.gpu_hours:
            best = found
        else:
            refused.add(longest)
    return best


def _stretches(schedule: Schedule) -> list[tuple[Role, int, int, int]]:
    """(role, first slot, slot after the last, size) of every run of equal sizes."""
    found = []
    for role in Role:
        sizes = np.array([pair[role] for pair in schedule.sizes])
        edges = [0, *(np.flatnonzero(np.diff(sizes)) + 1).tolist(), len(sizes)]
        found += [(role, first, end, int(sizes[first])) for first, end in pairwise(edges)]
    return found
