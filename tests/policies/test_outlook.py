"""The load to be ready for, from what is seen and what is forecast of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forecasting.forecast import Mode
from forecasting.tracker import Tracker
from policies.config import PolicySettings
from policies.demand import LOADS, Load
from policies.level import Levels
from policies.outlook import follow, outlook, tracker_settings, turn_notes
from policies.types import PerRole, Role

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


@pytest.mark.parametrize(
    ("before", "now", "says"),
    [
        pytest.param(
            Mode.ENSEMBLE,
            Mode.REACTIVE,
            ("the forecast of prefill work is reactive: oh",),
            id="dropped",
        ),
        pytest.param(Mode.REACTIVE, Mode.REACTIVE, (), id="still-reactive"),
        pytest.param(Mode.WARMING_UP, Mode.REACTIVE, (), id="warmed-up"),
        pytest.param(Mode.REACTIVE, Mode.ENSEMBLE, (), id="recovered"),
    ],
)
def test_it_says_when_models_give_way_to_the_last_value(before, now, says):
    def tracker(mode: Mode) -> Tracker:
        fresh = Tracker.fresh(tracker_settings(PolicySettings(), Role.PREFILL))
        return replace(fresh, forecast=replace(fresh.forecast, mode=mode, why="oh"))

    assert turn_notes((tracker(before),), (tracker(now),)) == says
