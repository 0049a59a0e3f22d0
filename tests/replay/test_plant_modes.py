"""Optimistic memory, cached prefixes that live on one replica, crashes and kills."""

from dataclasses import replace

import numpy as np
import pytest

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

FLEET = Physics(
    prefill=PrefillPhysics(
        base_seconds=0.008, seconds_per_token=5e-5, token_budget=4096, kv_capacity_tokens=50_000
    ),
    transfer=TransferPhysics(
        base_seconds=0.003,
        bytes_per_token=65_536,
        egress_bytes_per_second=10e9,
        ingress_bytes_per_second=10e9,
    ),
    decode=DecodePhysics(
        base_seconds=0.01,
        seconds_per_sequence=5e-5,
        seconds_per_context_token=5e-8,
        kv_capacity_tokens=20_000,
        max_sequences=64,
    ),
    gpus_per_replica=PerRole(1, 1),
    startup_seconds=PerRole(StartUp(20.0), StartUp(20.0)),
)


def arrivals(count: int, per_second: float, cached_fraction: float = 0.0) -> Requests:
    random = np.random.default_rng(2)
    prompts = np.ceil(random.uniform(500, 1500, count))
    return Requests(
        np.cumsum(random.exponential(1 / per_second, count)),
        prompts,
        np.ceil(random.exponential(300, count)),
        np.floor(cached_fraction * prompts),
    )


def optimistic(physics: Physics) -> Physics:
    return replace(physics, decode=replace(physics.decode, reservation=Reservation.OPTIMISTIC))


def test_optimistic_memory_runs_out_and_someone_pays() -> None:
    """The same overload: optimism gives first tokens sooner, and takes long pauses for it."""
    finished = {}
    for physics in (FLEET, optimistic(FLEET)):
        plant = Plant(physics, PerRole(2, 1))
        plant.offer(arrivals(300, 10))
        plant.advance(30.0)
        usage = plant.snapshot().kv_usage_max_fraction
        assert 0.9 < usage <= 1.0
        plant.advance(2000.0)
        seen = plant.snapshot()
        reservation = physics.decode.reservation
        assert (seen.preemptions > 0) == (reservation is Reservation.OPTIMISTIC)
        assert len(plant.take_first_tokens()) == 300
        finished[reservation] = plant.take_finished()
        assert len(finished[reservation]) == 300
    full, brave = finished[Reservation.FULL], finished[Reservation.OPTIMISTIC]
    assert np.mean(brave.ttft_seconds) < np.mean(full.ttft_seconds)
    assert np.percentile(brave.itl_seconds, 95) > 2 * np.percentile(full.itl_seconds, 95)
    np.testing.assert_array_equal(np.sort(brave.output_tokens), np.sort(full.output_tokens))


def test_memory_in_use_never_exceeds_what_there_is() -> None:
    plant = Plant(optimistic(FLEET), PerRole(2, 2))
    plant.offer(arrivals(600, 20))
    for until in np.arange(0.1, 60.0, 0.1):
        plant.advance(until)
        assert plant.snapshot().kv_usage_max_fraction <= 1.0
    assert plant.snapshot().preemptions > 0


def test_one_who_knows_where_prefixes_are_cached_prefills_faster() -> None:
    """With prefixes on one of four replicas each, round-robin hits a quarter of them."""
    local = replace(FLEET, prefill=replace(FLEET.prefill, prefix_cache=PrefixCache.LOCAL))
    ttft = {}
    for router in Router:
        plant = Plant(replace(local, router=router), PerRole(4, 12))
        plant.offer(arrivals(600, 12, cached_fraction=0.8))
        plant.advance(500.0)
        ttft[router] = float(np.mean(plant.take_finished().ttft_seconds))
    assert ttft[Router.KV_AWARE] < 0.7 * min(ttft[Router.ROUND_ROBIN], ttft[Router.LEAST_LOADED])


def test_a_prefix_cache_that_all_share_hits_under_every_router() -> None:
    for router in Router:
        ttft = []
        for cached_fraction in (0.0, 0.8):
            plant = Plant(replace(FLEET, router=router), PerRole(4, 4))
            plant.offer(arrivals(300, 5, cached_fraction))
            plant.advance(500.0)
            ttft.append(float(np.mean(plant.take_finished().ttft_seconds)))
        assert ttft[1] < 0.6 * ttft[0]


@pytest.mark.parametrize("role", Role)
def test_requests_of_a_crashed_replica_are_sent_again(role: Role) -> None:
    plant = Plant(FLEET, PerRole(2, 2))
    plant.offer(arrivals(300, 10))
    plant.advance(15.0)
    plant.crash(role)
    seen = plant.snapshot().replicas[role]
    assert (seen.desired, seen.ready, seen.starting_ages_seconds) == (2, 1, (0.0,))
    plant.advance(1000.0)
    seen = plant.snapshot()
    assert (seen.finished_requests, seen.lost_requests) == (300, 0)
    assert seen.replicas[role].ready == 2
    assert len(plant.take_first_tokens()) == 300


@pytest.mark.parametrize("role", Role)
def test_requests_of_a_crashed_replica_may_be_lost_and_are_counted(role: Role) -> None:
    plant = Plant(replace(FLEET, lost_work=LostWork.LOSE), PerRole(1, 1))
    plant.offer(arrivals(300, 10))
    plant.advance(15.0)
    before = plant.snapshot()
    inside = {
        Role.PREFILL: before.running_requests.prefill + before.transfers_waiting,
        Role.DECODE: before.running_requests.decode,
    }
    plant.crash(role)
    lost = plant.snapshot().lost_requests
    assert 0 < inside[role] <= lost <= inside[role] + 3  # and those on the links or just landed
    plant.advance(2000.0)
    assert plant.snapshot().finished_requests == 300 - lost


def test_scaling_in_by_killing_loses_what_draining_would_have_finished() -> None:
    lost = {}
    for scale_in in ScaleIn:
        physics = replace(FLEET, scale_in=scale_in, lost_work=LostWork.LOSE)
        plant = Plant(physics, PerRole(3, 3))
        plant.offer(arrivals(300, 10))
        plant.advance(15.0)
        plant.scale(PerRole(3, 1))
        lost[scale_in] = plant.snapshot().lost_requests
        assert plant.snapshot().replicas.decode.draining == (2 if scale_in is ScaleIn.DRAIN else 0)
    assert lost[ScaleIn.DRAIN] == 0
    assert lost[ScaleIn.KILL] > 10


def test_only_a_ready_replica_can_crash() -> None:
    plant = Plant(FLEET, PerRole(0, 1))
    plant.scale(PerRole(1, 1))
    with pytest.raises(ValueError, match="no prefill replica is ready"):
        plant.crash(Role.PREFILL)


@pytest.mark.parametrize("role", Role)
def test_a_crash_leaves_nothing_on_the_links_of_the_other_role(role: Role) -> None:
    """A request long after the crash has the links, and decode, to itself."""
    narrow = replace(FLEET.transfer, egress_bytes_per_second=1e8, ingress_bytes_per_second=1e8)
    physics = replace(FLEET, transfer=narrow, lost_work=LostWork.LOSE)
    ttft = []
    for crashing in (False, True):
        plant = Plant(physics, PerRole(1, 1))
        plant.offer(Requests.of([0.0, 100.0], [1000, 1000], [10, 10]))
        plant.advance(0.3)
        assert plant.snapshot().transfers_running == 1
        if crashing:
            plant.crash(role)
            assert plant.snapshot().transfers_running == 0
        plant.advance(200.0)
        ttft.append(plant.take_finished().ttft_seconds[-1])
    assert ttft[1] == pytest.approx(ttft[0])
