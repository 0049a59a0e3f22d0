"""What start-up time allows: it follows from the past alone, and has a formula on a step."""

from dataclasses import replace

import numpy as np
import pytest

from policies.config import PolicySettings, RoleSettings
from policies.profile import builtin
from policies.types import PerRole
from replay.ceiling import ceiling
from replay.compare import Stage
from replay.requests import Requests
from replay.traces import of_requests

pytestmark = pytest.mark.slow

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
STEP_AT, END = 300.0, 900.0
BEFORE, AFTER = 20.0, 90.0


def step_scene(startup_seconds: float, until: float = END):
    """Equal requests at random times, 20 a second and then 90."""
    random = np.random.default_rng(5)
    times = np.concatenate(
        [
            random.uniform(0, STEP_AT, int(BEFORE * STEP_AT)),
            random.uniform(STEP_AT, END, int(AFTER * (END - STEP_AT))),
        ]
    )
    times = np.sort(times)
    times = times[times < until]
    ones = np.ones(len(times))
    role = RoleSettings(startup_seconds=startup_seconds)
    return Stage(profile=PROFILE, settings=PolicySettings(prefill=role, decode=role)).scene(
        of_requests("step", Requests(times, 1500 * ones, 100 * ones, 0 * ones)), compiled=False
    )


def test_it_does_not_see_the_future():
    whole, part = (ceiling(step_scene(60.0, until)) for until in (END, STEP_AT + 45.0))
    known = int((STEP_AT + 40.0) / 10.0)
    assert whole.sizes[:known] == part.sizes[:known]


def test_plenty_is_asked_for_at_the_first_tick_that_shows_the_excess():
    sizes = ceiling(step_scene(60.0)).sizes
    first = int(STEP_AT / 10.0)
    assert sizes[first] == sizes[first - 1]
    assert min(sizes[first + 1].zip(sizes[first]).map(lambda pair: pair[0] - pair[1])) >= 1
    assert sizes[first + 1].prefill >= 2 * AFTER * PROFILE.prefill.seconds(1500.0, 0.0)


@pytest.mark.parametrize("startup_seconds", [30.0, 120.0])
def test_a_step_costs_what_arrives_until_the_replicas_come(startup_seconds):
    """Lost: all that arrives in start-up and tick, and while the queue drains, not much longer."""
    scene = step_scene(startup_seconds)
    score = scene.play(ceiling(scene))
    misses = (1 - score.joint_attainment) * score.requests
    until_they_come = AFTER * (startup_seconds + scene.tick_seconds)
    assert 0.8 * until_they_come <= misses <= 1.4 * until_they_come


def test_it_keeps_within_a_budget():
    scene = step_scene(60.0)
    scene = replace(scene, settings=scene.settings.model_copy(update={"gpu_budget": 5}))
    assert max(sum(pair) for pair in ceiling(scene).sizes) == 5
    assert PerRole(0, 0) not in ceiling(scene).sizes
