"""What every fleet must do, whatever its numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.types import PerRole, Role
from replay.physics import (
    DecodePhysics,
    LostWork,
    Physics,
    PrefillPhysics,
    PrefixCache,
    Reservation,
    Router,
    ScaleIn,
    StartUp,
    TransferPhysics,
)
from replay.plant import Plant
from replay.requests import Requests

ROUTERS = [pytest.param(router, id=router.value) for router in Router]


def physics(
    router: Router = Router.LEAST_LOADED,
    startup_seconds: float = 60.0,
    kv_capacity_tokens: float = 20_000,
    link_bytes_per_second: float = 40e9,
    token_budget: int = 2048,
) -> Physics:
    """An 8B model on one GPU, with less memory than it has so that limits are met."""
    return Physics(
        prefill=PrefillPhysics(
            base_seconds=0.008,
            seconds_per_token=1.1e-5,
            seconds_per_squared_token=4e-10,
            token_budget=token_budget,
            kv_capacity_tokens=kv_capacity_tokens,
        ),
        transfer=TransferPhysics(
            base_seconds=0.003,
            bytes_per_token=65_536,
            egress_bytes_per_second=link_bytes_per_second,
            ingress_bytes_per_second=link_bytes_per_second,
        ),
        decode=DecodePhysics(
            base_seconds=0.004,
            seconds_per_sequence=2.7e-5,
            seconds_per_context_token=1.9e-8,
            kv_capacity_tokens=kv_capacity_tokens,
            max_sequences=32,
        ),
        gpus_per_replica=PerRole(1, 2),
        startup_seconds=PerRole(StartUp(startup_seconds), StartUp(startup_seconds)),
        router=router,
    )


def with_modes(
    fleet: Physics,
    reservation: Reservation,
    prefix_cache: PrefixCache,
    scale_in: ScaleIn,
    lost_work: LostWork,
) -> Physics:
    return replace(
        fleet,
        prefill=replace(fleet.prefill, prefix_cache=prefix_cache),
        decode=replace(fleet.decode, reservation=reservation),
        scale_in=scale_in,
        lost_work=lost_work,
    )


def poisson(
    requests: int,
    per_second: float,
    seed: int = 0,
    input_mean: float = 1000,
    output_mean: float = 50,
) -> Requests:
    random = np.random.default_rng(seed)
    return Requests.of(
        np.cumsum(random.exponential(1 / per_second, requests)),
        np.minimum(np.ceil(random.exponential(input_mean, requests)), 9_000),
        np.minimum(np.ceil(random.exponential(output_mean, requests)), 9_000),
    )


def inside(plant: Plant) -> int:
    seen = plant.snapshot()
    return sum(seen.waiting_requests) + sum(seen.running_requests)


def ended(plant: Plant) -> int:
    seen = plant.snapshot()
    return seen.finished_requests + seen.lost_requests


sizes = st.builds(PerRole, st.integers(0, 4), st.integers(0, 4))
fleets = st.builds(
    with_modes,
    st.builds(
        physics,
        router=st.sampled_from(Router),
        startup_seconds=st.just(2.0),
        link_bytes_per_second=st.sampled_from([40e9, 0.2e9]),
    ),
    st.sampled_from(Reservation),
    st.sampled_from(PrefixCache),
    st.sampled_from(ScaleIn),
    st.sampled_from(LostWork),
)


@settings(deadline=None, max_examples=100)
@given(
    fleet=fleets,
    rate=st.sampled_from([2.0, 40.0, 300.0]),
    seed=st.integers(0, 1000),
    targets=st.lists(sizes, min_size=1, max_size=5),
    crashes=st.lists(st.sampled_from([None, *Role]), min_size=5, max_size=5),
)
def test_every_request_ends_exactly_once_or_is_still_inside(
    fleet: Physics,
    rate: float,
    seed: int,
    targets: list[PerRole[int]],
    crashes: list[Role | None],
) -> None:
    plant = Plant(fleet, PerRole(1, 1), seed=seed)
    offered = poisson(300, rate, seed, output_mean=100)
    plant.offer(offered)
    finished, first = [], []
    for step, target in enumerate([*targets, PerRole(2, 2)], start=1):
        plant.scale(target)
        plant.advance(1.3 * step)
        role = crashes[step % 5]
        if role is not None and plant.snapshot().replicas[role].ready > 0:
            plant.crash(role)
        finished.append(plant.take_finished().arrival_seconds)
        first.append(plant.take_first_tokens().arrival_seconds)
        arrived = plant.snapshot().arrived_requests
        assert arrived == np.sum(offered.arrival_seconds <= plant.now_seconds)
        assert arrived == ended(plant) + inside(plant)
    plant.advance(plant.now_seconds + 1000)
    finished.append(plant.take_finished().arrival_seconds)
    first.append(plant.take_first_tokens().arrival_seconds)
    ended_well, told_first = np.concatenate(finished), np.concatenate(first)
    assert np.unique(ended_well).size == ended_well.size
    assert np.unique(told_first).size == told_first.size
    assert np.isin(ended_well, told_first).all()
    seen = plant.snapshot()
    assert ended_well.size == seen.finished_requests == len(offered) - seen.lost_requests
    if fleet.lost_work is LostWork.RETRY:
        np.testing.assert_array_equal(np.sort(ended_well), offered.arrival_seconds)
    assert seen.kv_usage_fraction == 0.0
    assert seen.transfer_backlog_tokens == 0.0
    assert seen.replicas.map(lambda counts: counts.draining) == PerRole(0, 0)


@pytest.mark.parametrize("router", ROUTERS)
def test_the_same_seed_gives_the_same_run_however_it_is_cut(router: Router) -> None:
    offered = poisson(2000, 60)
    runs = []
    for steps in (1, 37):
        plant = Plant(physics(router), PerRole(2, 2))
        plant.offer(offered)
        for until in np.linspace(0, 60, steps + 1)[1:]:
            plant.advance(until)
            plant.snapshot()
        runs.append(plant.take_finished())
    np.testing.assert_array_equal(runs[0].finished_seconds, runs[1].finished_seconds)
    np.testing.assert_array_equal(runs[0].ttft_seconds, runs[1].ttft_seconds)


def test_time_does_not_run_backwards() -> None:
    plant = Plant(physics(), PerRole(1, 1), start_seconds=100.0)
    plant.advance(110.0)
    with pytest.raises(ValueError, match=r"at 110\.0 s and cannot be advanced to 109\.0 s"):
        plant.advance(109.0)
    with pytest.raises(ValueError, match=r"arrival at 105.0 s is in the past"):
        plant.offer(Requests.of([105.0], [100], [10]))
    plant.advance(110.0)
    assert plant.now_seconds == 110.0


def test_nothing_is_told_before_it_has_happened() -> None:
    plant = Plant(physics(), PerRole(2, 2))
    plant.offer(poisson(500, 50))
    for until in np.arange(0.0, 30.0, 0.05):
        plant.advance(until)
        first, finished = plant.take_first_tokens(), plant.take_finished()
        assert np.all(first.arrival_seconds + first.ttft_seconds <= until)
        assert np.all(finished.finished_seconds <= until)
        assert np.all(finished.finished_seconds > until - 0.05)
        assert np.all(finished.ttft_seconds > 0)
    assert plant.snapshot().finished_requests == 500


@pytest.mark.parametrize(
    ("requests", "wrong"),
    [
        pytest.param(Requests.of([2, 1], [5, 5], [5, 5]), "not decrease", id="out-of-order"),
        pytest.param(Requests.of([1, np.nan], [5, 5], [5, 5]), "not decrease", id="nan-arrival"),
        pytest.param(Requests.of([1], [0], [5]), "input_tokens must be > 0", id="no-prompt"),
        pytest.param(Requests.of([1], [5], [0]), "output_tokens must be >= 1", id="no-output"),
        pytest.param(
            Requests(np.ones(1), np.ones(1), np.ones(1), np.full(1, 2.0)),
            "cached_tokens must be between",
            id="more-cached-than-there-is",
        ),
    ],
)
def test_requests_that_make_no_sense_are_refused_with_the_row(
    requests: Requests, wrong: str
) -> None:
    plant = Plant(physics(), PerRole(1, 1))
    with pytest.raises(ValueError, match=wrong):
        plant.offer(requests)


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("more", [PerRole(1, 0), PerRole(0, 1), PerRole(1, 1)], ids=str)
def test_more_replicas_never_hurt(router: Router, more: PerRole[int]) -> None:
    small, large = [], []
    for seed in range(8):
        offered = poisson(1500, 120, seed)
        for replicas, means in (
            (PerRole(3, 3), small),
            (PerRole(3 + more.prefill, 3 + more.decode), large),
        ):
            plant = Plant(physics(router), replicas)
            plant.offer(offered)
            plant.advance(500)
            means.append(plant.take_finished().ttft_seconds.mean())
    assert np.mean(large) <= np.mean(small) * 1.001


def test_a_prompt_beyond_the_memory_of_a_replica_is_refused_and_counted() -> None:
    plant = Plant(physics(kv_capacity_tokens=1000), PerRole(1, 1))
    plant.offer(Requests.of([0.0, 0.0, 0.1], [900, 990, 10], [50, 50, 10]))
    plant.advance(10)
    seen = plant.snapshot()
    assert (seen.arrived_requests, seen.finished_requests, seen.lost_requests) == (3, 2, 1)


def test_a_single_request_takes_the_sum_of_its_stages() -> None:
    """900 tokens in two iterations of at most 500, 900*65536 bytes, then 3 decode iterations."""
    plant = Plant(physics(token_budget=500, link_bytes_per_second=1e9), PerRole(1, 1))
    plant.offer(Requests.of([1.0], [900], [3]))
    plant.advance(10)
    finished = plant.take_finished()
    prefill = 2 * 0.008 + 900 * 1.1e-5 + 900**2 * 4e-10
    transfer = 900 * 65_536 / 1e9 + 0.003
    iterations = [0.004 + 2.7e-5 + 1.9e-8 * (900 + done) for done in range(3)]
    assert finished.ttft_seconds[0] == pytest.approx(prefill + transfer + iterations[0])
    assert finished.itl_seconds[0] == pytest.approx(sum(iterations[1:]) / 2)
    assert finished.finished_seconds[0] == pytest.approx(1 + prefill + transfer + sum(iterations))


def test_a_cached_prefix_is_not_computed_again_but_is_transferred() -> None:
    columns = [np.array([value]) for value in (1.0, 900.0, 1.0, 600.0)]
    plant = Plant(physics(link_bytes_per_second=1e9), PerRole(1, 1))
    plant.offer(Requests(*columns))
    plant.advance(10)
    prefill = 0.008 + 300 * 1.1e-5 + (900**2 - 600**2) * 4e-10
    rest = 900 * 65_536 / 1e9 + 0.003 + 0.004 + 2.7e-5 + 1.9e-8 * 900
    assert plant.take_finished().ttft_seconds[0] == pytest.approx(prefill + rest)


def test_two_transfers_into_one_replica_share_its_link() -> None:
    """Of two equal prompts, prefilled side by side, both KVs take twice as long."""
    plant = Plant(physics(link_bytes_per_second=0.1e9), PerRole(2, 1))
    plant.offer(Requests.of([0.0, 0.0], [1000, 1000], [1, 1]))
    plant.advance(10)
    prefill = 0.008 + 1000 * 1.1e-5 + 1000**2 * 4e-10
    transfer = 2 * 1000 * 65_536 / 0.1e9 + 0.003
    iteration = 0.004 + 2 * 2.7e-5 + 1.9e-8 * 2000
    expected = prefill + transfer + iteration
    assert plant.take_finished().ttft_seconds == pytest.approx([expected, expected])


def test_decode_space_is_promised_before_a_transfer_starts() -> None:
    """Room for one request at a time: the second KV stays with prefill until the first is done."""
    plant = Plant(physics(kv_capacity_tokens=1100), PerRole(1, 1))
    plant.offer(Requests.of([0.0, 0.0], [1000, 1000], [100, 100]))
    plant.advance(0.2)
    seen = plant.snapshot()
    assert seen.running_requests == PerRole(0, 1)
    assert (seen.transfers_waiting, seen.transfers_running) == (1, 0)
    assert seen.transfer_backlog_tokens == 1000
    assert seen.kv_usage_max_fraction == 1.0
    plant.advance(10)
    first, second = plant.take_finished().finished_seconds
    assert second - first > 100 * 0.004


def test_kv_that_cannot_leave_stops_prefill() -> None:
    plant = Plant(physics(kv_capacity_tokens=2000), PerRole(1, 0))
    plant.offer(Requests.of([0.0, 0.1, 0.2], [900, 900, 900], [5, 5, 5]))
    plant.advance(10)
    seen = plant.snapshot()
    assert seen.transfers_waiting == 2
    assert seen.waiting_requests.prefill == 1
    assert seen.running_requests.prefill == 0
    plant.scale(PerRole(1, 1))
    plant.advance(100)
    assert plant.snapshot().finished_requests == 3
