"""Replicas that start, drain and go, and what they cost."""

import numpy as np
import pytest

from policies.types import PerRole, Role
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

ROUTERS = [pytest.param(router, id=router.value) for router in Router]


def physics(
    router: Router = Router.LEAST_LOADED, startup: PerRole[StartUp] | None = None
) -> Physics:
    return Physics(
        prefill=PrefillPhysics(
            base_seconds=0.01, seconds_per_token=1e-4, token_budget=0, kv_capacity_tokens=1e5
        ),
        transfer=TransferPhysics(
            base_seconds=0.003,
            bytes_per_token=65_536,
            egress_bytes_per_second=4e9,
            ingress_bytes_per_second=4e9,
        ),
        decode=DecodePhysics(
            base_seconds=0.02,
            seconds_per_sequence=1e-4,
            seconds_per_context_token=2e-8,
            kv_capacity_tokens=1e5,
        ),
        gpus_per_replica=PerRole(1, 2),
        startup_seconds=startup or PerRole(StartUp(30.0), StartUp(50.0)),
        router=router,
    )


def steady(requests: int, per_second: float) -> Requests:
    return Requests.of(
        np.arange(requests) / per_second, np.full(requests, 500), np.full(requests, 100)
    )


def test_a_new_replica_is_ready_after_its_start_up_time() -> None:
    plant = Plant(physics(), PerRole(1, 1))
    plant.advance(10.0)
    plant.scale(PerRole(2, 3))
    plant.advance(39.9)
    seen = plant.snapshot().replicas
    assert (seen.prefill.desired, seen.prefill.ready) == (2, 1)
    assert seen.prefill.starting_ages_seconds == (pytest.approx(29.9),)
    plant.advance(40.0)
    seen = plant.snapshot().replicas
    assert (seen.prefill.ready, seen.prefill.starting_ages_seconds) == (2, ())
    assert (seen.decode.ready, len(seen.decode.starting_ages_seconds)) == (1, 2)
    plant.advance(60.0)
    assert plant.snapshot().replicas.decode.ready == 3


def test_start_up_times_spread_as_asked_and_repeat_with_the_seed() -> None:
    spread = PerRole(StartUp(100.0, 0.5), StartUp(100.0))
    ready = []
    for seed in (1, 1, 2):
        plant = Plant(physics(startup=spread), PerRole(0, 1), seed=seed)
        plant.scale(PerRole(400, 1))
        counts = []
        for until in (52.7, 100.0, 189.8):  # the median, and a standard deviation either side
            plant.advance(until)
            counts.append(plant.snapshot().replicas.prefill.ready)
        ready.append(counts)
    assert ready[0] == ready[1] != ready[2]
    # Normal: 10%, 50% and 90% of the replicas; 4 standard errors of 400 draws.
    assert np.array(ready[0]) / 400 == pytest.approx([0.10, 0.50, 0.90], abs=0.10)


@pytest.mark.parametrize("router", ROUTERS)
def test_arrivals_wait_for_the_first_replica(router: Router) -> None:
    plant = Plant(physics(router), PerRole(0, 0))
    plant.offer(steady(10, 10))
    plant.advance(100.0)
    assert plant.snapshot().waiting_requests == PerRole(10, 0)
    plant.scale(PerRole(2, 2))
    plant.advance(149.0)
    assert plant.snapshot().transfers_waiting == 10
    plant.advance(200.0)
    assert plant.snapshot().finished_requests == 10
    assert plant.take_first_tokens().ttft_seconds.min() > 150 - 1


@pytest.mark.parametrize("router", ROUTERS)
@pytest.mark.parametrize("role", Role)
def test_draining_kills_nothing_and_takes_nothing_new(router: Router, role: Role) -> None:
    plant = Plant(physics(router), PerRole(4, 4))
    plant.offer(steady(4000, 40))
    plant.advance(20.0)
    plant.scale(PerRole(4, 4).but(role, 2))
    draining = plant.snapshot().replicas[role]
    assert (draining.desired, draining.ready) == (2, 2)
    assert draining.draining >= 1
    plant.advance(30.0)
    assert plant.snapshot().replicas[role].draining == 0
    plant.advance(500.0)
    seen = plant.snapshot()
    assert (seen.finished_requests, seen.lost_requests) == (4000, 0)


def test_a_prefill_replica_stays_until_its_kv_has_left() -> None:
    plant = Plant(physics(), PerRole(1, 0))
    plant.offer(steady(1, 1))
    plant.advance(5.0)
    plant.scale(PerRole(0, 1))
    plant.advance(54.9)
    assert plant.snapshot().replicas.prefill.draining == 1
    plant.advance(60.0)
    seen = plant.snapshot()
    assert (seen.replicas.prefill.draining, seen.finished_requests) == (0, 1)


def test_shrinking_gives_up_starting_replicas_before_ready_ones() -> None:
    plant = Plant(physics(), PerRole(2, 1))
    plant.scale(PerRole(5, 1))
    plant.advance(10.0)
    plant.scale(PerRole(3, 1))
    seen = plant.snapshot().replicas.prefill
    assert (seen.ready, len(seen.starting_ages_seconds), seen.draining) == (2, 1, 0)
    plant.scale(PerRole(1, 1))
    seen = plant.snapshot().replicas.prefill
    assert (seen.ready, len(seen.starting_ages_seconds)) == (1, 0)


def test_gpu_time_is_billed_from_asking_to_gone() -> None:
    plant = Plant(physics(), PerRole(2, 1))
    plant.advance(100.0)
    plant.scale(PerRole(3, 1))  # billed while it starts
    plant.advance(110.0)
    plant.scale(PerRole(2, 2))  # cancelled after 10 s
    plant.advance(130.0)
    assert plant.snapshot().gpu_seconds == PerRole(2 * 130 + 10, 2 * (130 + 20))
    plant.scale(PerRole(1, 2))  # idle, so gone at once
    plant.advance(200.0)
    assert plant.snapshot().gpu_seconds == PerRole(200 + 130 + 10, 2 * (200 + 90))


def test_places_of_replicas_that_went_are_used_again() -> None:
    """Thousands of scalings of a busy fleet neither lose a request nor lose count of replicas."""
    plant = Plant(
        physics(startup=PerRole(StartUp(0.5), StartUp(0.7))), PerRole(1, 1), start_seconds=0.0
    )
    plant.offer(steady(2000, 20))
    for step in range(1, 400):
        plant.scale(PerRole(1 + step % 7, 1 + step % 5))
        plant.advance(step * 0.25)
        for counts, wanted in zip(
            plant.snapshot().replicas, (1 + step % 7, 1 + step % 5), strict=True
        ):
            assert counts.ready + len(counts.starting_ages_seconds) == counts.desired == wanted
    plant.advance(500.0)
    assert plant.snapshot().finished_requests == 2000


@pytest.mark.parametrize("target", [PerRole(-1, 1), PerRole(1, -1)], ids=str)
def test_a_negative_pool_is_an_error(target: PerRole[int]) -> None:
    with pytest.raises(ValueError, match="negative"):
        Plant(physics(), PerRole(1, 1)).scale(target)
