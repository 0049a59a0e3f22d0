"""Fleets of fixed size, chosen with the whole trace known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

from policies.config import PolicySettings
from policies.types import PerRole
from replay.baselines.rule import Knobs, within_limits
from replay.scene import Scene
from replay.simulator import Policy, Static
from replay.sizing import peak_pair

_TICK_SECONDS = 60.0  # nothing is decided, so a run need not stop often

Attains = Callable[[PerRole[int]], bool]


def static(scene: Scene, knobs: Knobs) -> Policy:
    """Take the pair that our performance model finds for the peak of each load."""
    return _scaled(peak_pair(scene.trace, scene.profile, scene.settings), scene, knobs)


def static_peak(scene: Scene, knobs: Knobs) -> Policy:
    """Take the cheapest fixed pair that attains the objective in replay, whatever a model says.

    When no pair within the limits attains it, the best one does.
    """
    attained = cache(lambda pair: _attained(scene, pair))
    objective = scene.settings.slo.attainment_fraction
    start = within_limits(
        peak_pair(scene.trace, scene.profile, scene.settings), scene.profile, scene.settings
    )
    cost = scene.profile.gpus_per_replica
    pair = cheapest_static(
        lambda pair: attained(pair) >= objective, start, scene.settings, gpus_per_replica=cost
    )
    if pair is None:
        pair = max(_largest(scene), key=attained)
    return _scaled(pair, scene, knobs)


def cheapest_static(
    attains: Attains,
    start: PerRole[int],
    settings: PolicySettings,
    *,
    gpus_per_replica: PerRole[int],
) -> PerRole[int] | None:
    """Search for the cheapest pair that attains, taking more replicas never to hurt.

    Grows `start` until it attains, then walks the minimal pairs, from few prefill replicas to
    many. None when the maximum fails or the budget is exceeded by all of them.
    """
    low, high = (
        settings.roles.map(lambda role: role.min_replicas),
        settings.roles.map(lambda role: role.max_replicas),
    )
    most = start
    while not attains(most):
        if most == high:
            return None
        most = most.zip(high).map(lambda both: min(both[1], both[0] + max(1, both[0] // 4)))
    return min(
        (
            pair
            for pair in _staircase(attains, most, low)
            if settings.gpu_budget is None or _gpus(pair, gpus_per_replica) <= settings.gpu_budget
        ),
        key=lambda pair: _gpus(pair, gpus_per_replica),
        default=None,
    )


def _staircase(attains: Attains, most: PerRole[int], low: PerRole[int]) -> Iterator[PerRole[int]]:
    prefill, decode = most.prefill, most.decode
    while prefill > low.prefill and attains(PerRole(prefill - 1, decode)):
        prefill -= 1
    for more in range(prefill, most.prefill + 1):
        while decode > low.decode and attains(PerRole(more, decode - 1)):
            decode -= 1
        yield PerRole(more, decode)


def _largest(scene: Scene) -> Iterator[PerRole[int]]:
    """Yield the pairs that use up the budget, or the maximum where there is none."""
    roles, cost = scene.settings.roles, scene.profile.gpus_per_replica
    low, high = roles.map(lambda role: role.min_replicas), roles.map(lambda role: role.max_replicas)
    budget = scene.settings.gpu_budget
    if budget is None:
        yield high
        return
    for prefill in range(low.prefill, high.prefill + 1):
        decode = (budget - prefill * cost.prefill) // cost.decode
        if decode < low.decode:
            return
        yield PerRole(prefill, min(decode, high.decode))


def _scaled(pair: PerRole[int], scene: Scene, knobs: Knobs) -> Static:
    scaled = pair.map(lambda count: max(1, round(count * knobs.headroom)))
    return Static(within_limits(scaled, scene.profile, scene.settings))


def _attained(scene: Scene, pair: PerRole[int]) -> float:
    score = scene.play(Static(pair), tick_seconds=_TICK_SECONDS)
    return score.joint_attainment or 0.0


def _gpus(pair: PerRole[int], cost: PerRole[int]) -> int:
    return pair.prefill * cost.prefill + pair.decode * cost.decode
