"""The plant against queueing theory, where its physics reduces to a queue with a known answer.

Every test runs independent seeds and asks that theory lies within the confidence interval of
their mean, so a wrong law fails however long the run. The quantile is 99.9%: one false alarm in
a thousand seeds of seeds, and the seeds are fixed.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from policies.types import PerRole
from replay.physics import (
    DecodePhysics,
    Physics,
    PrefillPhysics,
    Router,
    StartUp,
    TransferPhysics,
)
from replay.plant import Plant
from replay.requests import Requests

SEEDS = range(24)
WARM_UP = 0.2
INSTANT = 1e-9


def prefill_queue(router: Router = Router.LEAST_LOADED) -> Physics:
    """One prompt at a time at 1 s per token; hand-off and decode take no time."""
    return Physics(
        prefill=PrefillPhysics(
            base_seconds=0.0, seconds_per_token=1.0, token_budget=0, kv_capacity_tokens=1e18
        ),
        transfer=TransferPhysics(
            base_seconds=0.0,
            bytes_per_token=0.0,
            egress_bytes_per_second=1.0,
            ingress_bytes_per_second=1.0,
        ),
        decode=DecodePhysics(
            base_seconds=INSTANT,
            seconds_per_sequence=0.0,
            seconds_per_context_token=0.0,
            kv_capacity_tokens=1e18,
            max_sequences=1000,
        ),
        gpus_per_replica=PerRole(1, 1),
        startup_seconds=PerRole(StartUp(0.0), StartUp(0.0)),
        router=router,
    )


Draw = Callable[[np.random.Generator, int], np.ndarray]


def exponential(random: np.random.Generator, count: int) -> np.ndarray:
    return random.exponential(1.0, count)


def constant(_: np.random.Generator, count: int) -> np.ndarray:
    return np.ones(count)


def hyperexponential(random: np.random.Generator, count: int) -> np.ndarray:
    """Mean 1, squared coefficient of variation 4: mostly short prompts and some long ones."""
    p = 0.5 * (1 + np.sqrt(3 / 5))
    return random.exponential(np.where(random.random(count) < p, 0.5 / p, 0.5 / (1 - p)))


def assert_mean(samples: list[float], theory: float) -> None:
    low, high = stats.t.interval(
        0.999, len(samples) - 1, loc=np.mean(samples), scale=stats.sem(samples)
    )
    assert low <= theory <= high
    assert high - low < 0.25 * theory, "the band is too wide to tell right from wrong"


def run(
    physics: Physics,
    replicas: PerRole[int],
    rate: float,
    draw: Draw,
    seed: int,
    count: int = 12_000,
) -> tuple[np.ndarray, np.ndarray]:
    """TTFT and service time of all requests after the warm-up, in order of arrival."""
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(1 / rate, count))
    service = draw(random, count)
    plant = Plant(physics, replicas)
    plant.offer(Requests.of(arrivals, service, np.ones(count)))
    plant.advance(1e7)
    finished = plant.take_finished()
    order = np.argsort(finished.arrival_seconds)[int(WARM_UP * count) :]
    return finished.ttft_seconds[order], finished.input_tokens[order]


def erlang_c(servers: int, load: float) -> float:
    blocking = 1.0
    for n in range(1, servers + 1):
        blocking = load * blocking / (n + load * blocking)
    return blocking / (1 - load / servers * (1 - blocking))


@pytest.mark.parametrize(
    ("servers", "utilisation"),
    [
        pytest.param(1, 0.5, id="M/M/1-half-busy"),
        pytest.param(3, 0.7, id="M/M/3"),
        pytest.param(6, 0.75, id="M/M/6-busy"),
    ],
)
def test_least_loaded_prefill_is_the_queue_m_m_c(servers: int, utilisation: float) -> None:
    load = servers * utilisation
    theory = erlang_c(servers, load) / (servers - load)
    waits = []
    for seed in SEEDS:
        ttft, service = run(prefill_queue(), PerRole(servers, 1), load, exponential, seed)
        waits.append(float(np.mean(ttft - service)))
    assert_mean(waits, theory)


@pytest.mark.parametrize(
    ("draw", "variation"),
    [
        pytest.param(constant, 0.0, id="M/D/1"),
        pytest.param(exponential, 1.0, id="M/M/1"),
        pytest.param(hyperexponential, 4.0, id="M/H2/1"),
    ],
)
def test_one_prefill_replica_waits_as_pollaczek_and_khinchine_say(
    draw: Draw, variation: float
) -> None:
    load = 0.6
    theory = load / (1 - load) * (1 + variation) / 2
    waits = []
    for seed in SEEDS:
        ttft, service = run(prefill_queue(), PerRole(1, 1), load, draw, seed)
        waits.append(float(np.mean(ttft - service)))
    assert_mean(waits, theory)


def test_round_robin_waits_longer_than_one_central_queue() -> None:
    waits = {}
    for router in Router:
        ttft, service = run(prefill_queue(router), PerRole(4, 1), 3.2, exponential, 1)
        waits[router] = np.mean(ttft - service)
    assert waits[Router.ROUND_ROBIN] > 1.5 * waits[Router.LEAST_LOADED]
