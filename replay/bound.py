"""How few GPU-hours a planner that knew the future would have needed.

Two numbers, because neither alone is honest. `relaxed_gpu_hours` solves a fluid model in which
work flows without queues or chance: nothing real reaches it. `clairvoyant` replays schedules made
with the true demand until one attains the objective, and cuts it down: it is the cheapest found,
and not proven to be the cheapest there is. Both bill start-up and keep limits and budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from policies.types import PerRole
from replay.hindsight import Hindsight
from replay.requests import Floats
from replay.scene import Scene
from replay.schedule import Schedule, Stretch
from replay.scoring import Score

# How candidates see the demand: as (length of the bursts that prefill is held to, load factor).
_View = tuple[float | None, float]
_VIEWS: tuple[_View, ...] = ((None, 0.9), (None, 1.05), (20.0, 0.9), (5.0, 0.8), (2.0, 1.0))
# Tried where none of them attains: clumps that fill decode are in no view, but in a margin.
_WIDER_VIEWS: tuple[_View, ...] = ((None, 1.5), (20.0, 1.3), (5.0, 1.3))
_BISECTIONS = 5
_LARGEST_PRICE = 1e5  # GPU-seconds for one request


def relaxed_gpu_hours(scene: Scene) -> float:
    """Least GPU-hours of the fluid model at the objective, by its Lagrangian dual.

    Every price gives a lower bound on the fluid optimum: the cheapest path, with what it misses
    beyond the share allowed charged to it. The best of them is returned.
    """
    hindsight = Hindsight(scene)
    allowed = (1 - scene.settings.slo.attainment_fraction) * float(hindsight.demand.requests.sum())
    prices = np.geomspace(0.1, _LARGEST_PRICE, 25)
    return (
        max(
            float(hindsight.path(price, hindsight.missed_in_fluid).cost - price * allowed)
            for price in prices
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


def clairvoyant(scene: Scene, *, cuts: int = 40) -> Schedule:
    """Find the cheapest schedule that attains the objective in replay.

    Candidates come from dynamic programming over the true demand with queueing, seen in several
    ways, each with the least price per miss that attains (by bisection). The cheapest is then cut:
    replicas are taken away stretch by stretch while it still attains, in at most `cuts` replays.

    Where none attains at any price, the objective's share of what the best of them attains is the
    aim: some prompts take longer than the objective alone, or come before anything can start.
    Example: 99% of requests, of which 97.3% can be met: 96.3%.
    """
    tried: dict[tuple[PerRole[int], ...], _Found] = {}  # neighbouring prices give equal sizes

    def seen(views: Iterable[_View]) -> list[_Seen]:
        return [_Seen(Hindsight(scene, burst), factor, tried) for burst, factor in views]

    objective = scene.settings.slo.attainment_fraction
    views = seen(_VIEWS)
    candidates = [view.cheapest(objective) for view in views]
    if _most_attained(candidates) < objective:
        wider = seen(_WIDER_VIEWS)
        candidates += [view.cheapest(objective) for view in wider]
        if _most_attained(candidates) < objective:
            objective *= _most_attained(candidates)
            candidates += [view.cheapest(objective) for view in (*views, *wider)]
    attaining = [found for found in candidates if found.attained >= objective]
    best = min(attaining, key=lambda found: found.score.gpu_hours)
    return _cut(scene, best, objective, cuts).schedule


def _most_attained(candidates: Iterable[_Found]) -> float:
    return max(found.attained for found in candidates)


@dataclass(frozen=True)
class _Seen:
    """One view of the demand, and all schedules that were tried so far."""

    hindsight: Hindsight
    load_factor: float
    tried: dict[tuple[PerRole[int], ...], _Found]

    def cheapest(self, objective: float) -> _Found:
        """Bisect on the logarithm of the price for the cheapest schedule that attains."""
        best, low, high = self._at(_LARGEST_PRICE), 0.0, math.log(_LARGEST_PRICE)
        if best.attained < objective:
            return best
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            found = self._at(math.exp(middle))
            if found.attained >= objective:
                high = middle
                best = min(best, found, key=lambda each: each.score.gpu_hours)
            else:
                low = middle
        return best

    def _at(self, price: float) -> _Found:
        hindsight = self.hindsight
        sizes = hindsight.path(price, self._missed).pairs
        if sizes not in self.tried:
            lead_seconds = hindsight.startup_seconds.map(
                lambda seconds: seconds + hindsight.scene.tick_seconds
            )
            schedule = Schedule(hindsight.demand.window_seconds, sizes, lead_seconds)
            self.tried[sizes] = _Found(schedule, hindsight.scene.play(schedule))
        return self.tried[sizes]

    @cached_property
    def _missed(self) -> Callable[[int], Floats]:
        return self.hindsight.missed_with_queues(self.load_factor)


def _cut(scene: Scene, best: _Found, objective: float, cuts: int) -> _Found:
    """Lower one stretch of constant size after the other, the dearest first, until none can be."""
    least = scene.settings.roles.map(lambda role: role.min_replicas)
    cost = scene.truth.gpus_per_replica
    refused: set[Stretch] = set()
    for _ in range(cuts):
        left = [
            stretch
            for stretch in best.schedule.stretches()
            if stretch not in refused and stretch.size > least[stretch.role]
        ]
        if not left:
            break
        dearest = max(left, key=lambda stretch: stretch.slots * cost[stretch.role])
        schedule = best.schedule.lowered(dearest)
        found = _Found(schedule, scene.play(schedule))
        if found.attained >= objective and found.score.gpu_hours < best.score.gpu_hours:
            best = found
        else:
            refused.add(dearest)
    return best
