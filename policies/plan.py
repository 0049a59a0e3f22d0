"""The pair to ask for now, seen over the time in which a replica started now pays for itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from policies.capacity import Capacity
from policies.coupling import Solution
from policies.demand import LOADS, Demand, Load
from policies.horizon import Floats, cheapest_path
from policies.lattice import Lattice
from policies.types import PerRole, PoolState, Role

_SLOT_SECONDS = 30.0
_MOST_SLOTS = 24
# A load on its way is judged at so many steps from now to what is ahead, the next one upwards.
_STEPS = 2


def plan(ahead: Solution, now: Demand, found: PerRole[PoolState]) -> PerRole[int]:
    """The first move of the cheapest way from the pools as they are to what is ahead.

    The demand ahead is never below that of `now` (policies/outlook.py).

    Dynamic programming over slots of half a minute and the sizes that matter: those in place, those
    that `now` needs and those that are needed ahead. A slot costs the GPUs held and the requests
    missed. Missing the share allowed once more costs as much as all the GPUs needed, so a replica
    is started where it saves more than it costs until it could be stopped again, its start-up
    included. Where one role is late, the other is not started before it can help: with decode
    ready in 300 s and prefill in 60 s, prefill waits for decode, where decode is what binds.

    Pairs outside the range for the ratio are no way there. A replica counts from the moment it is
    ready; one asked for is not asked for again. Where
    nothing starts, or no affordable pair meets the objective, there is nothing to weigh, and the
    pair ahead is the plan.
    """
    current = found.map(lambda pool: pool.desired_replicas)
    starts = any(ahead.replicas[role] > current[role] for role in Role)
    if not starts or not Lattice(ahead.capacity).meets(ahead.replicas):
        return ahead.replicas
    return _Plan(ahead, now, found).first_move()


@dataclass(frozen=True)
class _Plan:
    """The slots ahead, and what each pair of sizes costs in them."""

    ahead: Solution
    now: Demand
    found: PerRole[PoolState]

    @cached_property
    def _capacity(self) -> Capacity:
        return self.ahead.capacity

    @cached_property
    def _leads(self) -> PerRole[float]:
        return self._capacity.settings.roles.map(lambda role: role.startup_seconds)

    @cached_property
    def _slot_seconds(self) -> float:
        """Half a minute, or as much longer as a long start-up needs."""
        return max(_SLOT_SECONDS, self._horizon_seconds / _MOST_SLOTS)

    @property
    def _horizon_seconds(self) -> float:
        """Until what is asked for now is ready, and could be given back."""
        settings = self._capacity.settings
        kept = max(settings.guards.scale_in_window_seconds, settings.forecast.hold_seconds)
        return max(self._leads) + max(kept, _SLOT_SECONDS)

    @cached_property
    def _sizes(self) -> PerRole[Floats]:
        """The sizes of each role that matter, ascending."""
        lattice = Lattice(replace(self._capacity, demand=self.now))
        needed_now = lattice.cheapest(self.ahead.replicas) or self.ahead.replicas
        return PerRole.of(
            lambda role: np.unique(
                [
                    self.found[role].desired_replicas,
                    needed_now[role],
                    self.ahead.replicas[role],
                ]
            ).astype(np.float64)
        )

    @cached_property
    def _lattices(self) -> dict[PerRole[int], Lattice]:
        return {}

    def first_move(self) -> PerRole[int]:
        """What to ask for now: the most that the path has until a start could be of use."""
        sizes, cost = self._sizes, self._capacity.profile.gpus_per_replica
        slots = math.ceil(self._horizon_seconds / self._slot_seconds)
        path = cheapest_path(
            slots,
            self._slot_cost,
            self._leads.zip(cost).map(lambda pair: pair[0] * pair[1]),
            PerRole.of(
                lambda role: int(np.searchsorted(sizes[role], self.found[role].desired_replicas))
            ),
            sizes,
        )

        def first(role: Role) -> int:
            ready = min(math.ceil(self._leads[role] / self._slot_seconds), slots - 1)
            return int(sizes[role][max(pair[role] for pair in path.pairs[: ready + 1])])

        # Each role is looked at as far as its own start: the two together may be out of the range.
        together = self._lattice(self._steps(0.0)).ratio.least_above(
            PerRole.of(first), sizes.map(lambda each: int(each[-1]))
        )
        return together or self.ahead.replicas

    def _slot_cost(self, slot: int) -> Floats:
        """GPU-seconds of each pair of sizes in a slot, misses included."""
        at_seconds = slot * self._slot_seconds
        key = (self._steps(at_seconds), PerRole.of(lambda role: self._able(role, at_seconds)))
        if key not in self._costs:
            self._costs[key] = self._cost(self._lattice(key[0]), key[1])
        return self._costs[key]

    @cached_property
    def _costs(self) -> dict[tuple[PerRole[int], PerRole[int]], Floats]:
        return {}

    def _cost(self, lattice: Lattice, able: PerRole[int]) -> Floats:
        """What each pair of sizes costs in a slot; infinite for those outside the ratio's range."""
        gpus = self._capacity.profile.gpus_per_replica
        held = np.add.outer(self._sizes.prefill * gpus.prefill, self._sizes.decode * gpus.decode)
        allowed = 1.0 - self._capacity.settings.slo.attainment_fraction
        missed = np.array(
            [
                [
                    lattice.required - _attained(lattice, PerRole(prefill, decode), able)
                    if lattice.ratio.allows(PerRole(prefill, decode))
                    else math.inf
                    for decode in map(int, self._sizes.decode)
                ]
                for prefill in map(int, self._sizes.prefill)
            ]
        )
        price = self.ahead.gpus / allowed
        return np.asarray((held + price * np.maximum(missed, 0.0)) * self._slot_seconds)

    def _able(self, role: Role, at_seconds: float) -> int:
        """Replicas of a role that can serve by then; one asked for now can after its lead."""
        pool, lead = self.found[role], self._leads[role]
        if at_seconds >= lead:
            return int(self._sizes[role][-1])
        due = sum(age + at_seconds >= lead for age in pool.starting_ages_seconds)
        return max(pool.ready_replicas + due, 1)

    def _steps(self, at_seconds: float) -> PerRole[int]:
        """How far each role's load is on its way from now to ahead."""
        return self._leads.map(
            lambda lead: math.ceil(min(at_seconds / lead if lead else 1.0, 1.0) * _STEPS)
        )

    def _lattice(self, steps: PerRole[int]) -> Lattice:
        """Judge of pairs under the demand so far on its way."""
        if steps not in self._lattices:
            self._lattices[steps] = self._lattice_at(steps)
        return self._lattices[steps]

    def _lattice_at(self, steps: PerRole[int]) -> Lattice:
        here, there = self.now.load, self._capacity.demand.load
        load = Load.of(
            each.value(here) + (each.value(there) - each.value(here)) * steps[each.role] / _STEPS
            for each in LOADS
        )
        demand = replace(self._capacity.demand, load=load)
        return Lattice(replace(self._capacity, demand=demand))


def _attained(lattice: Lattice, pair: PerRole[int], able: PerRole[int]) -> float:
    """Attainment of what can serve of a pair, less the share that it cannot carry at all."""
    serving = pair.zip(able).map(min)
    ttft, itl = lattice.attainments(serving)
    return ttft * itl - (1.0 - lattice.capacity.flow(serving))
