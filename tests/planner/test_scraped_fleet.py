"""A simulated fleet through the metrics of each stack, scraped as a live one would be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from planner.metrics.exporters import EXPORTERS
from planner.metrics.scraped_fleet import StackLens
from policies.config import PolicySettings
from policies.profile import builtin
from policies.types import Observation, PerRole, Trust
from replay.baselines.registry import CONTENDERS, COUPLED
from replay.fleet import Fleet
from replay.physics import Physics
from replay.plant import Plant
from replay.requests import Requests
from replay.scene import Lens, Scene
from replay.simulator import Static, Step, Watch
from replay.traces import of_requests

SETTINGS = PolicySettings()
PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
RATE = 20.0
STACKS = sorted(EXPORTERS)
# These two count requests when they end, and so know no more than that of how they arrive.
WITHOUT_ARRIVALS = {"trtllm", "vllm"}


def requests(seconds: float, rate: float = RATE, tokens: int = 1500) -> Requests:
    rng = np.random.default_rng(0)
    count = round(rate * seconds)
    arrivals = np.sort(rng.uniform(0, seconds, count))
    return Requests.of(arrivals, np.full(count, tokens), np.full(count, 100))


def scene(offered: Requests, lens: Lens | None = None) -> Scene:
    return Scene(
        trace=of_requests("steady", offered),
        physics=Physics.from_profile(PROFILE, startup_seconds=PerRole(60.0, 60.0)),
        truth=PROFILE,
        profile=PROFILE,
        settings=SETTINGS,
        initial=PerRole(4, 2),
        lens=lens,
    )


def last_observation(lens: Lens | None) -> Observation:
    """After eight minutes of a steady load, which goes on for longer."""
    steps: list[Step] = []
    scene(requests(500.0), lens).play(Static(PerRole(4, 2)), on_step=steps.append)
    return next(step.observation for step in steps if step.observation.observed_at_seconds == 480)


@pytest.mark.parametrize("scrape_seconds", [10.0, 15.0, 30.0])
@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_shows_the_fleet_as_it_is(stack: str, scrape_seconds: float) -> None:
    seen = last_observation(StackLens(stack=stack, scrape_seconds=scrape_seconds))
    truth = last_observation(None)
    assert seen.trust is Trust.FULL, seen.problems
    # A window of 30 s holds 600 arrivals, and chance is 4% of them.
    assert seen.requests_per_second == pytest.approx(RATE, rel=4 / math.sqrt(RATE * 30))
    assert seen.input_tokens.mean == pytest.approx(truth.input_tokens.mean, rel=0.15)
    assert seen.output_tokens_mean == pytest.approx(100, rel=0.05)
    assert seen.itl.mean_seconds == pytest.approx(truth.itl.mean_seconds, rel=0.1)
    assert seen.kv_usage_fraction == pytest.approx(truth.kv_usage_fraction, rel=0.5)
    assert (seen.arrival_dispersion is None) == (stack in WITHOUT_ARRIVALS)
    assert 0 < (seen.arrival_dispersion or 1.0) < 3


def watched(lens: StackLens, offered: Requests, pair: PerRole[int]) -> tuple[Fleet, Watch]:
    set_up = scene(offered)
    fleet = Fleet(Plant(set_up.physics, pair), set_up.trace.chunks(), SETTINGS.slo)
    return fleet, lens.watch(fleet, SETTINGS)


def queue(watch: Watch, until: Iterator[float]) -> Iterator[tuple[float, float]]:
    """What waits in front of prefill, and how old that is, at each of these times."""
    for now_seconds in until:
        watch.advance(now_seconds)
        seen = watch.observe()
        waiting, age = seen.waiting_requests.prefill, seen.pool_quality.prefill.age_seconds
        assert waiting is not None
        assert age is not None
        yield waiting, age


def test_a_gauge_is_that_of_the_last_scrape_and_says_how_old_it_is() -> None:
    fleet, watch = watched(StackLens(stack="dynamo"), requests(120.0, 200.0), PerRole(1, 1))
    found = list(queue(watch, iter((60.0, 65.0, 70.0, 75.0, 85.0))))
    assert [age for _, age in found] == pytest.approx([0, 5, 10, 0, 10])
    waiting = [waits for waits, _ in found]
    assert waiting[0] == waiting[1] == waiting[2] < waiting[3] == waiting[4]
    assert fleet.observe().waiting_requests.prefill > waiting[4]


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["dynamo", "vllm"])
def test_decisions_through_a_stack_are_as_good_as_without(stack: str) -> None:
    """A load that trebles at once: as many requests in time, for at most a tenth more GPU-hours."""
    slow, quick = requests(1200.0, 20.0), requests(1200.0, 60.0)
    offered = Requests.concat(
        [
            slow,
            Requests.of(quick.arrival_seconds + 1200.0, quick.input_tokens, quick.output_tokens),
        ]
    )
    contender = CONTENDERS[COUPLED]

    def played(lens: Lens | None) -> tuple[float, float]:
        set_up = scene(offered, lens)
        score = set_up.play(contender.make(set_up, contender.knobs()))
        return score.joint_attainment or 0.0, score.gpu_hours

    (attained, gpu_hours), (as_it_is, gpu_hours_as_it_is) = (
        played(StackLens(stack=stack)),
        played(None),
    )
    assert attained > as_it_is - 0.02
    assert gpu_hours < 1.1 * gpu_hours_as_it_is


@pytest.mark.parametrize("stack", STACKS)
def test_arrivals_are_known_while_pods_come_to_a_queue_that_stands(stack):
    """Twice what two prefill pods take, and eight more of them after a minute and a half of it."""
    calm, crowd = requests(300.0, 20.0), requests(240.0, 250.0)
    crowd = replace(crowd, arrival_seconds=crowd.arrival_seconds + 300.0)
    where = scene(Requests.concat([calm, crowd]), StackLens(stack=stack, scrape_seconds=15.0))
    seen = {}

    class Late:
        def decide(self, observation, pools, memory, now_seconds):
            size = PerRole(2, 2) if now_seconds < 330.0 else PerRole(10, 4)
            return Static(size).decide(observation, pools, memory, now_seconds)

    def see(step: Step) -> None:
        seen[step.observation.observed_at_seconds] = step.observation.requests_per_second

    replace(where, initial=PerRole(2, 2)).play(Late(), on_step=see)
    crowded = [rate for at, rate in seen.items() if 390.0 <= at <= 480.0]
    assert None not in crowded
    assert min(crowded) > 150.0
