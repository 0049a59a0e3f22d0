"""What start-up time allows: how well a fleet can serve bursts that nobody announced.

With start-up time L, a step that no one announced misses what arrives in excess for about L and
one tick, and what queues behind it. The ceiling is the attainment, in replay, of a fleet

- that is sized rightly for all that has been offered up to now: by the solve, with the true speed
  of the replicas and lengths of answers known at arrival, for the largest minute of the last five;
- that asks for three times what the newest seconds need, the moment they show an excess;
- and that cannot see the future.

Only holding more than was ever offered, and paying for it all the time, gets above it. What the
clairvoyant `bound` attains lies above it too: that one knows when to start. One thing is taken from
the whole trace: how long a mean answer takes, over which decode work is spread.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from policies.coupling import solve
from policies.demand import Demand, Load
from policies.types import PerRole
from replay.baselines.rule import within_limits
from replay.requests import Floats
from replay.scene import Scene
from replay.schedule import Schedule
from replay.sizing import Offered, offered

_MINUTE_SECONDS = 60.0
_REMEMBERED_SECONDS = 300.0
_PLENTY = 3.0
# Work in a window of n requests varies by sqrt((1 + CV^2) / n) of itself; CV is taken as 1.
_VARIATION, _DEVIATIONS = 2.0, 3.0


def ceiling(scene: Scene) -> Schedule:
    """Lay down what the fleet above asks for at each tick; sizes serve one start-up time later."""
    seen = _Past(scene)
    asked = [seen.needed(tick) for tick in range(len(seen))]
    plenty = [seen.plenty(tick) for tick in range(len(seen))]
    # Kept until it has come, and remembered for as long as all that was offered: where bursts
    # return every few minutes (Azure code), a fleet sized for what was offered stands ready.
    startup_seconds = max(startup.median_seconds for startup in scene.physics.startup_seconds)
    kept = math.ceil((startup_seconds + _REMEMBERED_SECONDS) / scene.tick_seconds)
    sizes = tuple(
        _largest([asked[tick], *plenty[max(0, tick - kept) : tick + 1]])
        for tick in range(len(seen))
    )
    # The first tick has seen nothing yet; lead 0 asks for slot k's size when slot k begins.
    return Schedule(scene.tick_seconds, (scene.initial, *sizes), PerRole(0.0, 0.0))


class _Past:
    """The true work offered in each tick, and what follows from that of earlier ones only."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._offered = offered(
            scene.trace, scene.truth, scene.settings, window_seconds=scene.tick_seconds
        )
        self._loads = _loads(self._offered)
        self._minute = max(1, round(_MINUTE_SECONDS / scene.tick_seconds))
        minutes = _trailing(self._loads, self._minute, np.mean)
        remembered = max(1, round(_REMEMBERED_SECONDS / scene.tick_seconds))
        self._peaks = _trailing(minutes, remembered, np.max)

    def __len__(self) -> int:
        return len(self._loads)

    def needed(self, tick: int) -> PerRole[int]:
        """The pair for the largest minute of the last five."""
        return self._pair(self._peaks[tick], tick)

    def plenty(self, tick: int) -> PerRole[int]:
        """Three times the pair for the newest seconds if they show an excess, else no replica.

        Any number of seconds up to a minute may show it: a large one shows at once, a small one
        only when it has lasted longer than chance would have it.
        """
        if tick == 0:
            return PerRole(0, 0)
        before = self._peaks[tick - 1]
        for width in range(1, self._minute + 1):
            newest = slice(max(0, tick + 1 - width), tick + 1)
            load = self._loads[newest].mean(axis=0)
            requests = max(float(self._offered.requests[newest].sum()), 1.0)
            chance = _DEVIATIONS * math.sqrt(_VARIATION / requests)
            if np.any(load * (1 - chance) > before):
                pair = self._pair(load, tick).map(lambda count: math.ceil(_PLENTY * count))
                return within_limits(pair, self._scene.truth, self._scene.settings)
        return PerRole(0, 0)

    def _pair(self, load: Floats, tick: int) -> PerRole[int]:
        minute = slice(max(0, tick + 1 - self._minute), tick + 1)
        shape = self._offered.peak_demand(minute).shape
        demand = Demand(
            load=Load(
                prefill_erlangs=float(load[0]),
                decode_tokens_per_second=float(load[1]),
                kv_token_steps_per_second=float(load[2]),
            ),
            shape=shape,
            kv_held_factor=shape.promised_factor,
            arrival_dispersion=self._scene.settings.arrival_dispersion,
        )
        return solve(demand, self._scene.truth, self._scene.settings).replicas


def _loads(offered: Offered) -> Floats:
    """One row per window, in the order of the fields of `Load`."""
    return np.column_stack(
        (
            offered.prefill_erlangs,
            offered.decode_tokens_per_second,
            offered.kv_token_steps_per_second,
        )
    )


def _trailing(rows: Floats, width: int, reduce: Callable[..., Floats]) -> Floats:
    """Reduce each row with the `width - 1` before it, with as many as there are at the start."""
    windows = sliding_window_view(rows, min(width, len(rows)), axis=0)
    first = [reduce(rows[: end + 1], axis=0) for end in range(min(width, len(rows)) - 1)]
    return np.vstack([*first, reduce(windows, axis=2)])


def _largest(pairs: list[PerRole[int]]) -> PerRole[int]:
    return PerRole.of(lambda role: max(pair[role] for pair in pairs))
