"""The load to be ready for, from what is seen and what is forecast of it."""

from __future__ import annotations

import pytest

from policies.config import PolicySettings
from policies.demand import LOADS, Load
from policies.level import Levels
from policies.outlook import follow, outlook
from policies.types import PerRole

NOTHING = PerRole(Load.of((0.0, 0.0, 0.0)), Load.of((0.0, 0.0, 0.0)))
SETTINGS = PolicySettings()


@pytest.mark.parametrize(
    ("falling", "most"),
    [
        pytest.param(PerRole(prefill=False, decode=False), (1.2, 1.2, 1.2), id="it wavers"),
        pytest.param(PerRole(prefill=True, decode=False), (1.0, 1.2, 1.2), id="prefill falls"),
        pytest.param(PerRole(prefill=False, decode=True), (1.2, 1.0, 1.0), id="decode falls"),
    ],
)
def test_without_a_model_a_load_that_surely_falls_is_promised_at_what_is_seen(falling, most):
    """Jumps to the double and back make the quantile of errors large; none was foreseen."""
    trackers, now_seconds = (), 0.0
    for tick in range(360):
        now_seconds = 10.0 * tick
        jump = 2.0 if tick // 30 % 3 == 0 else 1.0
        level = Load.of((4.0 * jump, 9000.0 * jump, 1e7 * jump))
        trackers = follow(trackers, level, SETTINGS, now_seconds)
    levels = Levels(now=level, ahead=level, newest=level, falling=falling)
    ahead = outlook(trackers, levels, NOTHING)
    seen = [load.value(ahead) / load.value(level) for load in LOADS]
    assert seen == pytest.approx(most, rel=0.02)
