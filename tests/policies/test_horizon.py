"""The cheapest path against trying all of them."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.horizon import cheapest_path
from policies.types import PerRole

PAIRS = [PerRole(p, d) for p, d in product(range(3), range(3))]


def brute_force(costs, start_cost, first):
    def price(path):
        total, before = 0.0, first
        for slot, pair in enumerate(path):
            total += costs[slot][pair.prefill, pair.decode]
            total += start_cost.prefill * max(pair.prefill - before.prefill, 0)
            total += start_cost.decode * max(pair.decode - before.decode, 0)
            before = pair
        return total

    return min(price(path) for path in product(PAIRS, repeat=len(costs)))


costs = st.lists(
    st.lists(st.integers(0, 20).map(float), min_size=9, max_size=9).map(
        lambda row: np.array(row).reshape(3, 3)
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(costs, st.integers(0, 12), st.integers(0, 12), st.sampled_from(PAIRS))
def test_no_path_is_cheaper(costs, prefill_start, decode_start, first):
    start_cost = PerRole(float(prefill_start), float(decode_start))
    path = cheapest_path(len(costs), lambda slot: costs[slot], start_cost, first)
    assert path.cost == pytest.approx(brute_force(costs, start_cost, first))


@settings(max_examples=40, deadline=None)
@given(costs, st.integers(0, 12), st.sampled_from(PAIRS))
def test_the_pairs_cost_what_is_claimed(costs, start, first):
    path = cheapest_path(len(costs), lambda slot: costs[slot], PerRole(float(start), 1.0), first)
    total, before = 0.0, first
    for slot, pair in enumerate(path.pairs):
        total += costs[slot][pair.prefill, pair.decode]
        total += start * max(pair.prefill - before.prefill, 0)
        total += max(pair.decode - before.decode, 0)
        before = pair
    assert total == pytest.approx(path.cost)


@pytest.mark.parametrize(
    ("gap_slots", "middle"),
    [
        pytest.param(3, 2, id="a-gap-cheaper-than-a-start-is-bridged"),
        pytest.param(8, 1, id="a-longer-one-is-not"),
    ],
)
def test_starts_are_weighed_against_idling(gap_slots, middle):
    needed = [2] + [1] * gap_slots + [2]

    def slot_cost(slot):
        prefill = np.arange(3)
        cost = 1.0 * prefill + np.where(prefill < needed[slot], 1e3, 0.0)
        return np.repeat(cost[:, None], 2, axis=1)

    path = cheapest_path(len(needed), slot_cost, PerRole(5.0, 5.0), PerRole(2, 1))
    assert path.pairs[1].prefill == middle
