"""The field's known failures, each as a story with the engine in it."""

from dataclasses import replace

import numpy as np
import pytest

from policies.calibration import slowed
from policies.config import PolicySettings, RoleSettings, Slo
from policies.profile import Profile, builtin
from policies.ratio import RatioRange
from policies.types import Binding, PerRole, Role
from replay.baselines.registry import CONTENDERS
from replay.physics import Physics
from replay.requests import Requests
from replay.scene import Scene
from replay.scoring import Score
from replay.simulator import Static
from replay.traces.sample import sample_trace
from replay.traces.shape import cut, scale_rate
from replay.traces.trace import of_requests

pytestmark = pytest.mark.slow

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
STARTUP_SECONDS = 60.0
ROLE = RoleSettings(startup_seconds=STARTUP_SECONDS)
SETTINGS = PolicySettings(prefill=ROLE, decode=ROLE)


def requests(rate_at, prompt: float, answer: float, seconds: float = 1200.0) -> Requests:
    """Poisson arrivals of a rate that depends on the time, by thinning; lognormal lengths."""
    random = np.random.default_rng(3)
    most = max(rate_at(t) for t in np.arange(0, seconds, 1.0))
    arrivals = np.sort(random.uniform(0, seconds, random.poisson(most * seconds)))
    kept = arrivals[random.uniform(0, most, len(arrivals)) < [rate_at(t) for t in arrivals]]

    def lengths(mean: float) -> np.ndarray:
        sigma = 0.8
        return np.ceil(random.lognormal(np.log(mean) - sigma**2 / 2, sigma, len(kept)))

    return Requests(kept, lengths(prompt), lengths(answer), np.zeros(len(kept)))


def scene(
    traffic: Requests,
    initial: PerRole[int],
    *,
    profile: Profile = PROFILE,
    settings: PolicySettings = SETTINGS,
    slowness: PerRole[float] = PerRole(1.0, 1.0),  # noqa: B008 - frozen
    startup_seconds: float = STARTUP_SECONDS,
) -> Scene:
    startup = PerRole(startup_seconds, startup_seconds)
    physics = Physics.from_profile(slowed(profile, slowness), startup_seconds=startup)
    return Scene(
        trace=of_requests("scenario", traffic),
        physics=physics,
        truth=profile,
        profile=profile,
        settings=settings,
        initial=initial,
        compiled=False,
    )


def play(where: Scene, policy: str = "coupled", steps: list | None = None) -> Score:
    contender = CONTENDERS[policy]
    return where.play(
        contender.make(where, contender.knobs()),
        on_step=steps.append if steps is not None else None,
    )


def test_a_ratio_range_holds_at_every_tick_while_the_load_rises():
    traffic = requests(lambda t: 15.0 + 45.0 * (300 < t < 700), 3000, 100, 1500)
    ratio = RatioRange(min_prefill_per_decode=1.0, max_prefill_per_decode=2.0)
    steps: list = []
    held = scene(traffic, PerRole(2, 1), settings=SETTINGS.model_copy(update={"ratio": ratio}))
    play(held, steps=steps)
    targets = [step.decision.target for step in steps if step.decision.target]
    assert len(set(targets)) > 1
    assert all(ratio.allows(target) for target in targets)
    free: list = []
    play(scene(traffic, PerRole(2, 1)), steps=free)
    assert not all(ratio.allows(step.decision.target) for step in free if step.decision.target)


def test_a_wave_of_long_prompts_adds_prefill_and_not_decode():
    before, wave = requests(lambda _: 20.0, 800, 100, 400), requests(lambda _: 20.0, 6000, 100, 900)
    traffic = Requests.concat([before, replace(wave, arrival_seconds=wave.arrival_seconds + 400.0)])
    steps = []
    play(scene(traffic, PerRole(1, 1)), steps=steps)
    most = PerRole.of(lambda role: max(step.decision.target[role] for step in steps))
    assert most.prefill >= 3
    assert most.decode <= 2


def test_a_wave_of_long_answers_adds_decode_and_not_prefill():
    before, wave = requests(lambda _: 20.0, 500, 60, 400), requests(lambda _: 20.0, 500, 1500, 900)
    traffic = Requests.concat([before, replace(wave, arrival_seconds=wave.arrival_seconds + 400.0)])
    steps = []
    play(scene(traffic, PerRole(1, 1)), steps=steps)
    most = PerRole.of(lambda role: max(step.decision.target[role] for step in steps))
    assert most.decode >= 3
    assert most.prefill == 1


def part_of_the_sample(where: Scene, start_seconds: float, end_seconds: float) -> Scene:
    trace = scale_rate(cut(sample_trace(), start_seconds, end_seconds), 40.0)
    return replace(where, trace=trace)


NOTHING = Requests.of((), (), ())


def test_with_the_budget_short_the_coupled_solve_beats_two_separate_ones():
    """While traffic shifts to long answers, prefill sized alone takes what decode needs."""
    short = SETTINGS.model_copy(update={"gpu_budget": 3})
    where = scene(NOTHING, PerRole(2, 1), settings=short)
    where = part_of_the_sample(where, 4800.0, 6000.0)
    joint, apart = play(where), play(where, "independent")
    assert joint.joint_attainment >= apart.joint_attainment + 0.1
    assert joint.gpu_hours <= apart.gpu_hours


def test_on_a_narrow_link_the_coupled_solve_needs_fewer_gpus():
    """Sized alone, each role widens the link for itself, whatever the other one does.

    A twentieth fewer here; benchmarks/decision_scarce.py measures it on longer workloads.
    """
    slow = PROFILE.transfer.model_copy(update={"bytes_per_second": 4e9})
    narrow = PROFILE.model_copy(update={"transfer": slow})
    where = scene(NOTHING, PerRole(3, 2), profile=narrow)
    where = part_of_the_sample(where, 2400.0, 4800.0)
    joint, apart = play(where), play(where, "independent")
    assert joint.joint_attainment >= apart.joint_attainment - 0.01
    assert joint.gpu_hours <= 0.96 * apart.gpu_hours


def test_on_a_narrow_link_two_loops_that_do_not_know_it_scale_for_nothing():
    """TTFT grows by the hand-off; prefill takes itself for slow, and decode sees no need."""
    slow = PROFILE.transfer.model_copy(update={"bytes_per_second": 2.5e9})
    narrow = PROFILE.model_copy(update={"transfer": slow})
    few = SETTINGS.model_copy(update={"gpu_budget": 12})
    where = scene(NOTHING, PerRole(3, 3), settings=few, profile=narrow)
    where = part_of_the_sample(where, 2400.0, 3300.0)
    joint, apart = play(where), play(where, "separate")
    assert joint.joint_attainment >= apart.joint_attainment + 0.1
    assert joint.gpu_hours <= apart.gpu_hours


def largest(steps) -> PerRole[int]:
    return PerRole.of(lambda role: max(step.decision.target[role] for step in steps))


def notes_of(steps) -> str:
    return " ".join(note for step in steps for note in step.decision.notes)


def test_prefill_tripled_without_decode_is_put_right_at_decode():
    """Two prefill replicas would do; six hand their KV to a decode pool that is full."""
    traffic = requests(lambda _: 30.0, 1200, 900, 900)
    tripled = scene(traffic, PerRole(6, 1))
    steps = []
    score = play(tripled, steps=steps)
    moved = next(step.decision for step in steps if step.decision.changes)
    assert moved.target.decode > 1
    assert moved.target.prefill <= 6
    assert steps[-1].decision.target.prefill <= 3
    assert score.joint_attainment >= tripled.play(Static(PerRole(6, 1))).joint_attainment + 0.2


def test_full_decode_memory_is_answered_with_decode_alone():
    """KV that decode has no room for stays in prefill and blocks it: its queue is a symptom."""
    decode = PROFILE.decode.model_copy(update={"kv_capacity_tokens": 60_000.0})
    little = PROFILE.model_copy(update={"decode": decode})
    steps = []
    traffic = requests(lambda _: 60.0, 1200, 300, 500)
    play(scene(traffic, PerRole(2, 1), profile=little), steps=steps)
    assert max(step.observation.kv_usage_fraction for step in steps) > 0.95
    assert max(step.observation.waiting_requests.prefill for step in steps) > 100
    assert "decode is the bottleneck" in notes_of(steps)
    assert largest(steps).prefill <= 3
    assert largest(steps).decode >= 4
    assert steps[-1].observation.kv_transfer_backlog_requests < 10


@pytest.mark.parametrize(
    ("initial", "side"),
    [
        pytest.param(PerRole(2, 6), Role.PREFILL, id="egress"),
        pytest.param(PerRole(6, 2), Role.DECODE, id="ingress"),
    ],
)
def test_a_saturated_link_gets_the_side_whose_network_card_is_the_limit(initial, side):
    """Prompts of 4,000 tokens are 0.5 GB of KV each; a card moves 4 GB/s, and 20 GB/s must pass."""
    slow = PROFILE.transfer.model_copy(update={"bytes_per_second": 4e9})
    narrow = PROFILE.model_copy(update={"transfer": slow})
    random = np.random.default_rng(3)
    arrivals = np.sort(random.uniform(0, 600, 600 * 36))
    ones = np.ones(len(arrivals))
    traffic = Requests(arrivals, 4000 * ones, 20 * ones, 0 * ones)
    steps = []
    play(scene(traffic, initial, profile=narrow), steps=steps)
    other = Role.DECODE if side is Role.PREFILL else Role.PREFILL
    assert largest(steps)[side] > initial[side]
    assert largest(steps)[other] <= initial[other] + 1


def test_one_gpu_short_is_spent_where_it_serves_most():
    """A load doubles to one for which 4+6 would do. Cut in proportion that is 3+6; 4+5 is best."""
    until, budget = 500.0, 9
    traffic = requests(lambda t: 15.0 if t < 200 else 30.0, 6000, 900, until)
    short = SETTINGS.model_copy(update={"gpu_budget": budget})
    where = scene(traffic, PerRole(3, 6), settings=short)
    in_proportion, best, other = (
        where.play(Static(pair)).joint_attainment
        for pair in (PerRole(3, 6), PerRole(4, 5), PerRole(5, 4))
    )
    assert best > max(in_proportion, other) + 0.3
    steps = []
    score = play(where, steps=steps)
    assert score.joint_attainment >= in_proportion + 0.15
    assert max(sum(step.decision.target) for step in steps) <= budget
    loaded = [step.decision for step in steps if step.observation.observed_at_seconds < until]
    assert loaded[-1].target == PerRole(4, 5)
    assert Binding.BUDGET in loaded[-1].binding
    assert "would be needed" in notes_of(steps)


@pytest.mark.parametrize(
    "slowness",
    [
        pytest.param(PerRole(1.3, 1.3), id="slower-by-30%"),
        pytest.param(PerRole(0.75, 0.75), id="faster-by-25%"),
    ],
)
def test_a_wrong_profile_still_attains(slowness):
    traffic = requests(lambda t: 40.0 + 10.0 * np.sin(t / 300), 1200, 200)
    score = play(scene(traffic, PerRole(3, 2), slowness=slowness))
    assert score.joint_attainment >= 0.97


def test_start_ups_twice_as_slow_as_configured_still_attain_on_a_gentle_load():
    traffic = requests(lambda t: 30.0 + 15.0 * np.sin(t / 400), 1200, 200)
    score = play(scene(traffic, PerRole(2, 1), startup_seconds=2 * STARTUP_SECONDS))
    assert score.joint_attainment >= 0.97


def test_an_objective_out_of_reach_is_told_and_the_fleet_stays_bounded():
    tight = SETTINGS.model_copy(update={"slo": Slo(ttft_seconds=0.02)})
    steps = []
    traffic = requests(lambda _: 20.0, 1200, 100, 600)
    play(scene(traffic, PerRole(2, 1), settings=tight), steps=steps)
    assert all(Binding.INFEASIBLE_SLO in step.decision.binding for step in steps[1:])
    assert max(sum(step.decision.target) for step in steps) <= 12
