"""The fluid tier against its own laws, and against the plant that it stands in for."""

from dataclasses import replace

import numpy as np
import pytest

from policies.types import PerRole
from replay.compiled import numba_installed
from replay.fluid import Demand, flow, ready_replicas
from replay.physics import DecodePhysics, Physics, PrefillPhysics, StartUp, TransferPhysics
from replay.plant import Plant
from replay.requests import Requests

LLAMA_8B = Physics(
    prefill=PrefillPhysics(
        base_seconds=0.0079,
        seconds_per_token=1.139e-5,
        seconds_per_squared_token=4.25e-10,
        token_budget=0,
        kv_capacity_tokens=400_000,
    ),
    transfer=TransferPhysics(
        base_seconds=0.003,
        bytes_per_token=65_536,
        egress_bytes_per_second=40e9,
        ingress_bytes_per_second=40e9,
    ),
    decode=DecodePhysics(
        base_seconds=0.00432,
        seconds_per_sequence=2.71e-5,
        seconds_per_context_token=1.9e-8,
        kv_capacity_tokens=400_000,
    ),
    gpus_per_replica=PerRole(1, 1),
    startup_seconds=PerRole(StartUp(0.0), StartUp(0.0)),
)


def demand(requests_per_second: np.ndarray, tokens: float = 1000, answer: float = 300) -> Demand:
    steps = len(requests_per_second)
    return Demand(
        step_seconds=1.0,
        requests_per_second=requests_per_second,
        input_tokens=np.full(steps, tokens),
        computed_tokens=np.full(steps, tokens),
        output_tokens=np.full(steps, answer),
    )


def constant(replicas: PerRole[float], steps: int) -> PerRole[np.ndarray]:
    return replicas.map(lambda count: np.full(steps, float(count)))


@pytest.mark.timeout(180)
def test_compiled_and_plain_agree_to_the_last_bit() -> None:
    pytest.importorskip("numba", reason="the compiled simulator needs the extra 'replay'")
    random = np.random.default_rng(1)
    load = demand(random.uniform(0, 200, 3000))
    ready = PerRole(*(random.integers(0, 6, (2, 3000)).astype(float)))
    plain = flow(LLAMA_8B, load, ready, compiled=False)
    machine = flow(LLAMA_8B, load, ready, compiled=True)
    for one, other in zip(plain, machine, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("replicas", "per_second"),
    [
        pytest.param(PerRole(2, 2), 40.0, id="with-room"),
        pytest.param(PerRole(1, 2), 70.0, id="prefill-bound"),
        pytest.param(PerRole(4, 1), 90.0, id="decode-bound"),
    ],
)
def test_fluid_and_plant_agree_where_randomness_does_not_matter(
    replicas: PerRole[int], per_second: float
) -> None:
    """Evenly spaced equal requests: queues and batches within 10% plus a request or two."""
    seconds = 60
    count = int(per_second * seconds)
    plant = Plant(LLAMA_8B, replicas)
    plant.offer(
        Requests.of(np.arange(count) / per_second, np.full(count, 1000), np.full(count, 300))
    )
    plant.advance(seconds)
    seen = plant.snapshot()
    run = flow(LLAMA_8B, demand(np.full(seconds, per_second)), constant(replicas, seconds))
    assert run.waiting_prompts[-1] == pytest.approx(seen.waiting_requests.prefill, rel=0.1, abs=3)
    assert run.waiting_transfers[-1] == pytest.approx(seen.transfers_waiting, rel=0.1, abs=3)
    assert run.decode_sequences[-1] == pytest.approx(seen.running_requests.decode, rel=0.1, abs=3)


def test_nothing_is_lost_on_the_way() -> None:
    """What arrived is waiting, moving or decoded; decode is the integral of its completions."""
    random = np.random.default_rng(3)
    load = demand(np.concatenate([random.uniform(0, 150, 600), np.zeros(2000)]))
    run = flow(LLAMA_8B, load, constant(PerRole(2, 1), len(load)))
    inside = run.waiting_prompts + run.waiting_transfers + run.decode_sequences
    arrived = np.cumsum(load.requests_per_second)
    assert np.all(inside <= arrived + 1e-6)
    assert np.all(np.diff(arrived - inside) >= -1e-6)
    assert inside[-1] == pytest.approx(0.0, abs=1e-3)


def test_a_narrow_link_holds_kv_back_and_then_prefill() -> None:
    slow = replace(
        LLAMA_8B,
        transfer=replace(LLAMA_8B.transfer, ingress_bytes_per_second=1e9),
    )
    run = flow(slow, demand(np.full(120, 30.0)), constant(PerRole(1, 1), 120))
    assert run.waiting_transfers[-1] * 1000 == pytest.approx(400_000, rel=0.05)
    assert run.waiting_prompts[-1] > 100
    assert np.all(np.diff(run.ttft_seconds) >= 0)


def test_no_replicas_make_an_endless_wait() -> None:
    run = flow(LLAMA_8B, demand(np.full(10, 1.0)), constant(PerRole(0, 0), 10))
    assert np.all(np.isinf(run.ttft_seconds))
    assert run.waiting_prompts[-1] == pytest.approx(10)


@pytest.mark.parametrize(
    ("target", "startup_seconds", "ready"),
    [
        pytest.param([1, 3, 3, 3, 3], 0, [1, 3, 3, 3, 3], id="at-once"),
        pytest.param([1, 3, 3, 3, 3], 2, [1, 1, 1, 3, 3], id="after-its-start-up"),
        pytest.param([1, 3, 2, 2, 2], 2, [1, 1, 1, 2, 2], id="one-cancelled"),
        pytest.param([3, 1, 3, 3, 3], 2, [3, 1, 1, 1, 3], id="down-at-once-up-later"),
        pytest.param([1, 2, 3, 4, 5], 1, [1, 1, 2, 3, 4], id="ramp-lags"),
    ],
)
def test_replicas_are_ready_once_wanted_for_their_start_up_time(
    target: list[int], startup_seconds: float, ready: list[int]
) -> None:
    np.testing.assert_array_equal(ready_replicas(np.array(target), startup_seconds, 1.0), ready)


def test_columns_of_different_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="a row per step"):
        flow(LLAMA_8B, demand(np.ones(3)), constant(PerRole(1, 1), 4), compiled=numba_installed())
