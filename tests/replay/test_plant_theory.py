"""The plant against queueing theory, where its physics reduces to a queue with a known answer.

Every test runs independent seeds and asks that theory lies within the confidence interval of
their mean, so a wrong law fails however long the run. The quantile is 99.9%: one false alarm in
a thousand seeds of seeds, and the seeds are fixed.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from policies.types import PerRole
from replay.compiled import numba_installed
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

pytestmark = pytest.mark.timeout(180)  # the first test may have to compile
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
    plant = Plant(physics, replicas, compiled=numba_installed())
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


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(constant, id="M/D/1-PS"),
        pytest.param(exponential, id="M/M/1-PS"),
        pytest.param(hyperexponential, id="M/H2/1-PS"),
    ],
)
def test_a_shared_link_is_processor_sharing_whatever_the_sizes(draw: Draw) -> None:
    """Mean sojourn E[S] / (1 - load) for every distribution of sizes (insensitivity)."""
    load = 0.6
    fleet = prefill_queue()
    link_only = replace(
        fleet,
        prefill=replace(fleet.prefill, seconds_per_token=0.0, base_seconds=INSTANT),
        transfer=replace(
            fleet.transfer,
            bytes_per_token=1.0,
            egress_bytes_per_second=1e9,
            transfers_per_replica=1000,
        ),
    )
    sojourns = []
    for seed in SEEDS:
        ttft, _ = run(link_only, PerRole(1, 1), load, draw, seed)
        sojourns.append(float(np.mean(ttft)))
    assert_mean(sojourns, 1 / (1 - load))


def test_decode_that_never_waits_for_space_holds_a_poisson_number_of_sequences() -> None:
    """M/G/infinity: Little's law for the mean, and a variance equal to it."""
    iteration, tokens, rate = 0.05, 40, 10.0
    fleet = prefill_queue()
    unlimited = replace(
        fleet,
        prefill=replace(fleet.prefill, seconds_per_token=0.0, base_seconds=INSTANT),
        decode=replace(fleet.decode, base_seconds=iteration),
    )
    means, variances = [], []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        count = 3000
        plant = Plant(unlimited, PerRole(1, 1), compiled=numba_installed())
        plant.offer(
            Requests.of(
                np.cumsum(random.exponential(1 / rate, count)),
                np.ones(count),
                np.full(count, tokens),
            )
        )
        running = []
        for until in np.arange(10.0, 0.9 * count / rate, 0.31):
            plant.advance(until)
            running.append(plant.snapshot().running_requests.decode)
        means.append(float(np.mean(running)))
        variances.append(float(np.var(running)))
    assert_mean(means, rate * tokens * iteration)
    assert_mean(variances, rate * tokens * iteration)


@pytest.mark.parametrize(
    ("places", "offered"), [pytest.param(5, 4.0, id="small"), pytest.param(20, 18.0, id="large")]
)
def test_full_decode_makes_requests_wait_as_often_as_erlang_says(
    places: int, offered: float
) -> None:
    """M/M/c on sequence places; Erlang's C, made from his B, is the share that must wait.

    Answers are geometric with mean 1 s, in iterations so short that joining takes no time.
    """
    iteration = 0.001
    fleet = prefill_queue()
    small = replace(
        fleet,
        prefill=replace(fleet.prefill, seconds_per_token=0.0, base_seconds=INSTANT),
        decode=replace(fleet.decode, base_seconds=iteration, max_sequences=places),
    )
    shares = []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        count = 6000
        plant = Plant(small, PerRole(1, 1), compiled=numba_installed())
        plant.offer(
            Requests.of(
                np.cumsum(random.exponential(1 / offered, count)),
                np.ones(count),
                random.geometric(iteration, count).astype(float),
            )
        )
        plant.advance(1e6)
        ttft = plant.take_finished().ttft_seconds
        # Joining takes up to one iteration and the first token another one.
        shares.append(float(np.mean(ttft[int(WARM_UP * count) :] > 2 * iteration + 1e-6)))
    assert_mean(shares, erlang_c(places, offered))


def step_by_step(
    fleet: Physics, landed: np.ndarray, prompt: np.ndarray, answer: np.ndarray
) -> np.ndarray:
    """When each request finishes, by running every single iteration: what the plant skips."""
    law = fleet.decode
    finished = np.full(len(landed), np.nan)
    batch: dict[int, int] = {}
    now, following = 0.0, 0
    while following < len(landed) or batch:
        if not batch:
            now = max(now, landed[following])
        while following < len(landed) and landed[following] <= now:
            batch[following] = 0
            following += 1
        context = sum(prompt[request] + done for request, done in batch.items())
        now += law.base_seconds + law.seconds_per_sequence * len(batch)
        now += law.seconds_per_context_token * context
        for request in list(batch):
            batch[request] += 1
            if batch[request] == answer[request]:
                finished[request] = now
                del batch[request]
    return finished


@pytest.mark.parametrize("rate", [0.5, 5.0, 15.0])
def test_skipping_iterations_is_the_same_as_running_every_one(rate: float) -> None:
    random = np.random.default_rng(11)
    count = 400
    fleet = prefill_queue()
    fleet = replace(
        fleet,
        prefill=replace(fleet.prefill, seconds_per_token=0.0, base_seconds=0.001),
        decode=replace(
            fleet.decode,
            base_seconds=0.01,
            seconds_per_sequence=1e-4,
            seconds_per_context_token=2e-7,
        ),
    )
    arrivals = np.cumsum(0.001 + random.exponential(1 / rate, count))
    prompt = np.ceil(random.exponential(1000, count))
    answer = np.ceil(random.exponential(150, count))
    plant = Plant(fleet, PerRole(1, 1), compiled=False)
    plant.offer(Requests.of(arrivals, prompt, answer))
    plant.advance(1e6)
    told = plant.take_finished()
    order = np.argsort(told.arrival_seconds)
    expected = step_by_step(fleet, arrivals + 0.001, prompt, answer)
    np.testing.assert_allclose(told.finished_seconds[order], expected, rtol=1e-9)


@pytest.mark.parametrize("router", [pytest.param(r, id=r.value) for r in Router])
def test_more_load_never_helps(router: Router) -> None:
    means = []
    for load in (1.6, 2.0, 2.4, 2.8):
        seeds = range(6)
        runs = [run(prefill_queue(router), PerRole(3, 1), load, exponential, s) for s in seeds]
        means.append(np.mean([np.mean(ttft) for ttft, _ in runs]))
    assert means == sorted(means)
