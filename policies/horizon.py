"""The cheapest way through time for two pools, when adding a replica costs something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from policies.types import PerRole

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Path:
    """One pair of sizes per slot, and what the whole path costs."""

    pairs: tuple[PerRole[int], ...]
    cost: float


def cheapest_path(
    slots: int,
    slot_cost: Callable[[int], Floats],
    start_cost: PerRole[float],
    first: PerRole[int],
    sizes: PerRole[Floats] | None = None,
) -> Path:
    """Find the sizes of least total cost over `slots` slots, exactly.

    `slot_cost(t)[p, d]` is what holding p prefill and d decode replicas through slot t costs
    (infinite where it is not allowed); each replica added costs `start_cost` of its role once,
    removing one is free. `first` is held before slot 0. Shapes must not change over time.
    With `sizes`, ascending, p and d are places in it, and so are `first` and the path.

    Dynamic programming backwards: V_t(n) = min over m of start(n -> m) + c_t(m) + V_{t+1}(m).
    Because starts cost in proportion, each minimum is two running minima per axis, so a slot costs
    O(P * D) rather than O(P^2 * D^2).
    """
    ahead: list[Floats] = [np.empty(0)] * slots
    value: Floats | float = 0.0
    for slot in reversed(range(slots)):
        ahead[slot] = slot_cost(slot) + value
        value = _cheapest_move(ahead[slot], start_cost, sizes or _counts(ahead[slot]))
    pairs, pair, cost = [], first, 0.0
    for slot in range(slots):
        total = ahead[slot] + _moves_from(pair, start_cost, sizes or _counts(ahead[slot]))
        prefill, decode = np.unravel_index(int(np.argmin(total)), total.shape)
        if slot == 0:
            cost = float(total[prefill, decode])
        pair = PerRole(int(prefill), int(decode))
        pairs.append(pair)
    return Path(tuple(pairs), cost)


def _counts(cost: Floats) -> PerRole[Floats]:
    """The sizes that the places of a cost stand for where nothing else is said: 0, 1, 2 ..."""
    prefill, decode = cost.shape
    return PerRole(np.arange(prefill, dtype=np.float64), np.arange(decode, dtype=np.float64))


def _cheapest_move(value: Floats, start_cost: PerRole[float], sizes: PerRole[Floats]) -> Floats:
    """For every pair before, the least of the move's cost and the value after it."""
    for axis, (cost, each) in enumerate(zip(start_cost, sizes, strict=True)):
        counts = each.reshape((-1, 1) if axis == 0 else (1, -1))
        fewer = np.minimum.accumulate(value, axis=axis)
        more = np.flip(
            np.minimum.accumulate(np.flip(value + cost * counts, axis=axis), axis=axis), axis=axis
        )
        value = np.minimum(fewer, more - cost * counts)
    return value


def _moves_from(pair: PerRole[int], start_cost: PerRole[float], sizes: PerRole[Floats]) -> Floats:
    prefill, decode = (
        cost * np.maximum(each - each[place], 0.0)
        for cost, each, place in zip(start_cost, sizes, pair, strict=True)
    )
    return np.asarray(prefill[:, None] + decode[None, :])
