"""Each guard by itself: what it makes of a target."""

from __future__ import annotations

import pytest

from policies.config import PolicySettings
from policies.guards import Context, stabilise_scale_in
from policies.memory import Sized
from policies.rise import NEVER_RISEN
from policies.types import PerRole, Trust

NOW, SETTINGS = 10_000.0, PolicySettings()  # a window of 300 s


def context(current: int, wanted_ago: dict[float, int], *, falling: bool = False) -> Context:
    """Prefill of a size for which so much was wanted so many seconds ago, at rest otherwise."""
    recent = tuple(
        Sized(NOW - ago, PerRole(replicas, 1)) for ago, replicas in sorted(wanted_ago.items())[::-1]
    )
    pair = PerRole(current, 1)
    return Context(
        now_seconds=NOW,
        current=pair,
        wanted=pair,
        planned=pair,
        kept=pair,
        falling=PerRole(prefill=falling, decode=False),
        recent=recent,
        rises=NEVER_RISEN,
        gpus_per_replica=PerRole(1, 1),
        settings=SETTINGS,
        rollout=PerRole.of(lambda _: False),
        stuck=PerRole(0, 0),
        floor=PerRole(0, 0),
        cap=None,
        trust=Trust.FULL,
        slot_begins=True,
    )


@pytest.mark.parametrize(
    ("current", "wanted_ago", "target", "after"),
    [
        pytest.param(8, {280: 8, 100: 3, 0: 7}, 3, 8, id="wanted within the window: held"),
        pytest.param(8, {310: 8, 100: 3, 0: 5}, 3, 5, id="wanted before it: to the largest since"),
        pytest.param(8, {310: 8, 100: 7, 0: 5}, 5, 8, id="a single one waits for two windows"),
        pytest.param(8, {610: 8, 100: 7, 0: 5}, 5, 7, id="and goes after them"),
        pytest.param(8, {310: 5, 100: 7, 0: 5}, 5, 7, id="or at once if it was not wanted in them"),
        pytest.param(4, {280: 8, 0: 2}, 2, 4, id="never above what is there"),
        pytest.param(4, {280: 2, 0: 6}, 6, 6, id="scale-out is not held"),
    ],
)
def test_scale_in_looks_back_on_a_window_and_on_two_for_a_single_replica(
    current, wanted_ago, target, after
):
    held, why = stabilise_scale_in(PerRole(target, 1), context(current, wanted_ago))
    assert held == PerRole(after, 1)
    assert "300 s" in why
    assert "600 s" in why


@pytest.mark.parametrize(("ago", "after"), [(310, 7), (280, 8)])
def test_a_single_replica_of_a_load_that_surely_falls_waits_for_one_window(ago, after):
    target, wanted_ago = PerRole(5, 1), {ago: 8, 100: 7, 0: 5}
    held, _ = stabilise_scale_in(target, context(8, wanted_ago, falling=True))
    assert held == PerRole(after, 1)
