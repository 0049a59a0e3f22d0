"""Machine code and plain Python are one simulator."""

import importlib.util
from dataclasses import replace

import numpy as np
import pytest

from policies.types import PerRole, Role
from replay.physics import (
    DecodePhysics,
    Physics,
    PrefillPhysics,
    PrefixCache,
    Reservation,
    Router,
    StartUp,
    TransferPhysics,
)
from replay.plant import Plant, Snapshot
from replay.requests import Requests

CROWDED = Physics(
    prefill=PrefillPhysics(
        base_seconds=0.008,
        seconds_per_token=1.1e-5,
        seconds_per_squared_token=4e-10,
        token_budget=2048,
        kv_capacity_tokens=20_000,
    ),
    transfer=TransferPhysics(
        base_seconds=0.003,
        bytes_per_token=65_536,
        egress_bytes_per_second=2e9,
        ingress_bytes_per_second=3e9,
    ),
    decode=DecodePhysics(
        base_seconds=0.004,
        seconds_per_sequence=2.7e-5,
        seconds_per_context_token=1.9e-8,
        kv_capacity_tokens=20_000,
        max_sequences=32,
    ),
    gpus_per_replica=PerRole(1, 2),
    startup_seconds=PerRole(StartUp(3.0, 0.4), StartUp(5.0, 0.4)),
)


def scaled_run(physics: Physics, *, compiled: bool) -> tuple[list[np.ndarray], list[Snapshot]]:
    """Everything that a fleet tells while it is scaled up and down under load."""
    random = np.random.default_rng(3)
    plant = Plant(physics, PerRole(2, 2), seed=5, compiled=compiled)
    prompts = np.ceil(random.exponential(900, 8000))
    plant.offer(
        Requests(
            np.cumsum(random.exponential(0.01, 8000)),
            prompts,
            np.ceil(random.exponential(60, 8000)),
            np.floor(prompts * random.random(8000)),
        )
    )
    columns, snapshots = [], []
    for step in range(1, 41):
        plant.scale(PerRole(1 + step % 6, 1 + step % 5))
        plant.advance(2.5 * step)
        role = Role.DECODE if step % 2 else Role.PREFILL
        if step % 5 == 0 and plant.snapshot().replicas[role].ready > 0:
            plant.crash(role)
        finished, first = plant.take_finished(), plant.take_first_tokens()
        columns += [finished.finished_seconds, finished.itl_seconds, first.ttft_seconds]
        snapshots.append(plant.snapshot())
    return columns, snapshots


@pytest.mark.timeout(180)
@pytest.mark.parametrize("router", [pytest.param(r, id=r.value) for r in Router])
@pytest.mark.parametrize("reservation", [pytest.param(r, id=r.value) for r in Reservation])
def test_compiled_and_plain_agree_to_the_last_bit(router: Router, reservation: Reservation) -> None:
    pytest.importorskip("numba", reason="the compiled simulator needs the extra 'replay'")
    physics = replace(
        CROWDED,
        router=router,
        prefill=replace(CROWDED.prefill, prefix_cache=PrefixCache.LOCAL),
        decode=replace(CROWDED.decode, reservation=reservation),
    )
    plain_columns, plain_snapshots = scaled_run(physics, compiled=False)
    columns, snapshots = scaled_run(physics, compiled=True)
    for plain, machine in zip(plain_columns, columns, strict=True):
        np.testing.assert_array_equal(plain, machine)
    assert snapshots == plain_snapshots
    assert snapshots[-1].finished_requests > 4000


def test_without_numba_only_an_explicit_wish_for_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    Plant(CROWDED, PerRole(1, 1)).advance(1.0)
    with pytest.raises(ImportError, match=r"pip install 'pd-planner\[replay\]'"):
        Plant(replace(CROWDED, router=Router.ROUND_ROBIN), PerRole(1, 1), compiled=True)
