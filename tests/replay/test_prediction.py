"""The policy's capacity model against the plant, which shares no formula with it."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from policies.calibration import slowed
from policies.capacity import Capacity
from policies.config import PolicySettings
from policies.demand import Demand, Shape
from policies.engine import Engine
from policies.lengths import Lengths
from policies.profile import Profile, builtin
from policies.types import PerRole
from replay.fleet import Fleet
from replay.physics import Physics
from replay.plant import Plant
from replay.requests import Requests
from replay.simulator import Static, run

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SETTINGS = PolicySettings()


def poisson(rate: float, input_mean: float, output_mean: float, seconds: float) -> Requests:
    random = np.random.default_rng(7)
    count = random.poisson(rate * seconds)

    def lengths(mean: float, cv: float):
        sigma = np.sqrt(np.log1p(cv * cv))
        return np.maximum(np.round(random.lognormal(np.log(mean) - sigma**2 / 2, sigma, count)), 1)

    arrivals = np.sort(random.uniform(0, seconds, count))
    return Requests(arrivals, lengths(input_mean, 1.0), lengths(output_mean, 0.8), np.zeros(count))


def shape_of(requests: Requests) -> Shape:
    return Shape(
        prompt_tokens=Lengths.from_samples(requests.input_tokens),
        prefix_hit_fraction=0.0,
        output_tokens=Lengths.from_samples(requests.output_tokens),
    )


def fleet_of(
    requests: Requests, size: PerRole[int], slowness: PerRole[float], profile: Profile = PROFILE
) -> Fleet:
    truth = slowed(profile, slowness)
    physics = Physics.from_profile(truth, startup_seconds=PerRole(60.0, 60.0))
    return Fleet(Plant(physics, size), iter([requests]), SETTINGS.slo)


@pytest.mark.parametrize(
    ("rate", "prompt", "answer", "size"),
    [
        pytest.param(5, 3000, 120, PerRole(2, 2), id="two-prefill-replicas"),
        pytest.param(10, 3000, 120, PerRole(3, 2), id="three-busy-prefill-replicas"),
        pytest.param(20, 3000, 120, PerRole(6, 2), id="six-prefill-replicas"),
        pytest.param(30, 1155, 211, PerRole(4, 2), id="chat"),
        pytest.param(20, 4000, 30, PerRole(8, 1), id="code-completion"),
        pytest.param(15, 600, 480, PerRole(1, 2), id="long-answers"),
    ],
)
def test_predicted_attainment_agrees_with_the_plant(rate, prompt, answer, size):
    requests = poisson(rate, prompt, answer, seconds=1500)
    shape = shape_of(requests)
    demand = Demand(load=shape.load_of(PROFILE, rate), shape=shape)
    predicted = Capacity(PROFILE, SETTINGS, demand).expect(size)
    score = run(fleet_of(requests, size, PerRole(1.0, 1.0)), Static(size), tick_seconds=15)
    assert predicted.ttft_attainment == pytest.approx(score.ttft_attainment, abs=0.03)
    assert predicted.itl_attainment == pytest.approx(score.itl_attainment, abs=0.03)


@pytest.mark.parametrize(
    ("rate", "prompt", "answer", "size"),
    [
        pytest.param(4, 600, 200, PerRole(1, 1), id="short-prompts-hardly-any-wait"),
        pytest.param(11, 600, 200, PerRole(1, 2), id="short-prompts-share-iterations"),
        pytest.param(33, 600, 200, PerRole(3, 3), id="three-replicas-half-busy"),
        pytest.param(15, 1500, 100, PerRole(3, 3), id="chat"),
        pytest.param(40, 1500, 100, PerRole(8, 8), id="eight-replicas"),
        pytest.param(8, 3000, 120, PerRole(3, 2), id="long-prompts"),
    ],
)
def test_the_mean_ttft_that_calibration_compares_with_is_that_of_the_plant(
    rate, prompt, answer, size
):
    """A tenth of bias would be learnt as a tenth of speed, and paid for in replicas."""
    requests = poisson(rate, prompt, answer, seconds=3000)
    shape = shape_of(requests)
    capacity = Capacity(PROFILE, SETTINGS, Demand(load=shape.load_of(PROFILE, rate), shape=shape))
    predicted = capacity.prefill.mean_seconds(size.prefill) + capacity.after_prefill_seconds(size)
    fleet = fleet_of(requests, size, PerRole(1.0, 1.0))
    fleet.advance(3000)
    seen = fleet.tally.ttft_seconds
    assert predicted == pytest.approx(seen.sum / seen.count, rel=0.1)


@pytest.mark.parametrize(
    ("egress", "ingress"),
    [
        pytest.param(3e9, 40e9, id="slow-cards-at-prefill"),
        pytest.param(40e9, 6.5e9, id="slow-cards-at-decode"),
    ],
)
def test_predicted_attainment_agrees_with_the_plant_where_cards_differ(egress, ingress):
    size, requests = PerRole(6, 2), poisson(20, 3000, 120, seconds=1500)
    cards = {"bytes_per_second": egress, "ingress_bytes_per_second": ingress}
    profile = PROFILE.model_copy(update={"transfer": PROFILE.transfer.model_copy(update=cards)})
    shape = shape_of(requests)
    demand = Demand(load=shape.load_of(profile, 20), shape=shape)
    capacity = Capacity(profile, SETTINGS, demand)
    assert 0.5 < capacity.link_utilisation(size) < 0.8
    fleet = fleet_of(requests, size, PerRole(1.0, 1.0), profile)
    score = run(fleet, Static(size), tick_seconds=15)
    predicted = capacity.expect(size).ttft_attainment
    assert predicted == pytest.approx(score.ttft_attainment, abs=0.03)


@dataclass
class Watched:
    """An engine whose newest belief can be looked at."""

    engine: Engine
    beliefs: list = field(default_factory=list)

    def decide(self, observation, pools, memory, now_seconds):
        decision, memory = self.engine.decide(observation, pools, memory, now_seconds)
        self.beliefs.append(memory.calibration.map(lambda correction: correction.factor))
        return decision, memory


@pytest.mark.parametrize(
    "slowness",
    [
        pytest.param(PerRole(1.0, 1.0), id="right"),
        pytest.param(PerRole(1.3, 1.3), id="30%-slower"),
        pytest.param(PerRole(0.75, 0.75), id="25%-faster"),
    ],
)
def test_a_wrong_profile_is_absorbed_within_30_minutes_of_traffic(slowness):
    fleet = fleet_of(poisson(25, 1155, 211, seconds=1800), PerRole(5, 2), slowness)
    watched = Watched(Engine(PROFILE, SETTINGS))
    run(fleet, watched, tick_seconds=15)
    assert watched.beliefs[-1].prefill == pytest.approx(slowness.prefill, rel=0.15)
    assert watched.beliefs[-1].decode == pytest.approx(slowness.decode, rel=0.07)
