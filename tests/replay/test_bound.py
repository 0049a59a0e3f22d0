"""The bound is below what attains as much, and what it claims can be replayed."""

from dataclasses import replace

import numpy as np
import pytest

from policies.config import PolicySettings, RoleSettings, Slo
from policies.memory import Memory
from policies.profile import builtin
from policies.types import Observation, PerRole, PoolState, Role
from replay.baselines.registry import CONTENDERS
from replay.bound import clairvoyant, relaxed_gpu_hours
from replay.physics import Physics
from replay.requests import Requests
from replay.scene import Scene
from replay.schedule import Schedule, Stretch
from replay.traces import of_requests

pytestmark = pytest.mark.slow

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SETTINGS = PolicySettings(
    slo=Slo(ttft_seconds=1.5, itl_seconds=0.05, attainment_fraction=0.95),
    prefill=RoleSettings(startup_seconds=60.0, max_replicas=6),
    decode=RoleSettings(startup_seconds=60.0, max_replicas=6),
)


def poisson(rates, seed, prompt=1500.0, output=60.0):
    """Poisson arrivals at a rate for each of consecutive two-minute stretches."""
    random = np.random.default_rng(seed)
    times = np.concatenate(
        [
            120.0 * index + np.sort(random.uniform(0, 120.0, random.poisson(120.0 * rate)))
            for index, rate in enumerate(rates)
        ]
    )
    return Requests.of(times, np.full(len(times), prompt), np.full(len(times), output))


def scene_of(rates, seed=0, initial=PerRole(1, 1)):  # noqa: B008 - frozen
    return Scene(
        trace=of_requests("poisson", poisson(rates, seed)),
        physics=Physics.from_profile(PROFILE, startup_seconds=PerRole(60.0, 60.0)),
        truth=PROFILE,
        profile=PROFILE,
        settings=SETTINGS,
        initial=initial,
        seed=seed,
        compiled=False,
    )


@pytest.mark.parametrize(
    ("rates", "initial"),
    [
        pytest.param((2, 12, 12, 2), PerRole(1, 1), id="peak"),
        pytest.param((12, 2, 2, 2), PerRole(3, 2), id="falling"),
    ],
)
def test_the_bound_attains_and_nothing_that_attains_is_attaining(rates, initial):
    scene = scene_of(rates, initial=initial)
    schedule = clairvoyant(scene)
    bound = scene.play(schedule)
    assert bound.joint_attainment >= SETTINGS.slo.attainment_fraction
    assert relaxed_gpu_hours(scene) <= bound.gpu_hours
    attaining = []
    for name in ("coupled", "rate_reactive", "hpa", "static", "static_peak"):
        contender = CONTENDERS[name]
        score = scene.play(
            contender.make(scene, contender.knobs()), tick_seconds=contender.tick_seconds
        )
        if score.joint_attainment >= SETTINGS.slo.attainment_fraction:
            attaining.append((name, score.gpu_hours / bound.gpu_hours))
    assert attaining, "nothing to compare with"
    assert all(ratio >= 0.999 for _, ratio in attaining), attaining


def test_an_objective_out_of_reach_gives_the_nearest_schedule():
    scene = scene_of((30, 30), initial=PerRole(1, 1))  # two minutes, one of which is start-up
    schedule = clairvoyant(scene)
    assert scene.play(schedule).joint_attainment < SETTINGS.slo.attainment_fraction


def test_where_some_prompts_take_too_long_alone_the_others_are_served_as_asked():
    scene = scene_of((8, 8, 8), initial=PerRole(6, 6))
    requests = Requests.concat(list(scene.trace.chunks()))
    tenth = np.arange(len(requests)) % 10 == 0
    long = replace(requests, input_tokens=np.where(tenth, 20_000.0, requests.input_tokens))
    scene = replace(scene, trace=of_requests("poisson", long))
    ample = scene.play(Schedule(60.0, (PerRole(6, 6),) * 6, PerRole(60.5, 60.5)))
    bound = scene.play(clairvoyant(scene))
    asked = SETTINGS.slo.attainment_fraction * ample.joint_attainment
    assert ample.joint_attainment < SETTINGS.slo.attainment_fraction
    assert bound.joint_attainment >= asked
    assert bound.gpu_hours < 0.4 * ample.gpu_hours


def test_a_budget_is_kept():
    scene = scene_of((12, 12), initial=PerRole(2, 2))
    settings = SETTINGS.model_copy(update={"gpu_budget": 8})
    schedule = clairvoyant(replace(scene, settings=settings))
    assert all(2 * pair.prefill + 2 * pair.decode <= 8 for pair in schedule.sizes)


@pytest.mark.parametrize(
    ("now_seconds", "expected"),
    [
        pytest.param(0.0, 1, id="too-early"),
        pytest.param(120.0, 3, id="one-start-up-time-ahead"),
        pytest.param(200.0, 3, id="while-needed"),
        pytest.param(240.0, 2, id="afterwards"),
        pytest.param(999.0, 2, id="after-the-end"),
    ],
)
def test_a_schedule_asks_ahead(now_seconds, expected):
    sizes = tuple(PerRole(count, 1) for count in (1, 1, 1, 3, 2))
    schedule = Schedule(60.0, sizes, PerRole(60.5, 60.5))
    pools = PerRole.of(lambda _: PoolState(desired_replicas=1, ready_replicas=1))
    seen = Observation(observed_at_seconds=now_seconds, window_seconds=60.0)
    decision, _ = schedule.decide(seen, pools, Memory(), now_seconds)
    assert decision.target == PerRole(expected, 1)


def test_stretches_are_runs_of_one_size():
    schedule = Schedule(60.0, (PerRole(1, 2), PerRole(1, 2), PerRole(3, 2)), PerRole(60.0, 60.0))
    assert schedule.stretches() == [
        Stretch(Role.PREFILL, 0, 2, 1),
        Stretch(Role.PREFILL, 2, 3, 3),
        Stretch(Role.DECODE, 0, 3, 2),
    ]
    lowered = schedule.lowered(Stretch(Role.PREFILL, 2, 3, 3))
    assert [pair.prefill for pair in lowered.sizes] == [1, 1, 2]
