"""The field's best known failure: scaling one role of two that are coupled by the KV hand-off."""

from dataclasses import replace

import numpy as np
import pytest

from policies.types import PerRole
from replay.physics import DecodePhysics, Physics, PrefillPhysics, StartUp, TransferPhysics
from replay.plant import Plant, Snapshot
from replay.requests import Requests

LLAMA_8B = Physics(
    prefill=PrefillPhysics(
        base_seconds=0.0079,
        seconds_per_token=1.139e-5,
        seconds_per_squared_token=4.25e-10,
        kv_capacity_tokens=400_000,
    ),
    transfer=TransferPhysics(
        base_seconds=0.003,
        bytes_per_token=65_536,
        egress_bytes_per_second=40e9,
        ingress_bytes_per_second=40e9,
        transfers_per_replica=64,
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
ON_50_GIGABIT = replace(
    LLAMA_8B,
    transfer=replace(LLAMA_8B.transfer, egress_bytes_per_second=5e9, ingress_bytes_per_second=5e9),
)


def fan_outs(count: int, size: int, every_seconds: float) -> Requests:
    """Agents that fan out over one long document: `size` equal prompts at the same instant."""
    random = np.random.default_rng(7)
    starts = np.cumsum(random.exponential(every_seconds, count))
    prompts = count * size
    return Requests.of(
        np.repeat(starts, size), np.full(prompts, 4000), np.ceil(random.exponential(200, prompts))
    )


def steady(per_second: float, until_seconds: float) -> Requests:
    random = np.random.default_rng(7)
    count = int(per_second * until_seconds)
    return Requests.of(
        np.sort(random.uniform(0, until_seconds, count)),
        np.ceil(random.exponential(1000, count)),
        np.ceil(random.exponential(800, count)),
    )


def watched(
    physics: Physics, replicas: PerRole[int], requests: Requests, every_seconds: float
) -> tuple[list[float], list[Snapshot]]:
    """Mean TTFT of the first tokens in each interval, and the fleet at its end."""
    plant = Plant(physics, replicas)
    plant.offer(requests)
    ttft, seen = [], []
    while plant.now_seconds < requests.arrival_seconds[-1]:
        plant.advance(plant.now_seconds + every_seconds)
        ttft.append(float(np.mean(plant.take_first_tokens().ttft_seconds)))
        seen.append(plant.snapshot())
    return ttft, seen


def mean_ttft_and_backlog(replicas: PerRole[int]) -> tuple[float, float]:
    requests = fan_outs(60, 40, every_seconds=8.0)
    plant = Plant(ON_50_GIGABIT, replicas)
    plant.offer(requests)
    backlog = []
    while plant.snapshot().finished_requests < len(requests):
        plant.advance(plant.now_seconds + 0.1)
        backlog.append(plant.snapshot().transfer_backlog_tokens)
    return float(np.mean(plant.take_finished().ttft_seconds)), float(np.mean(backlog))


def test_tripling_prefill_without_decode_grows_the_kv_backlog_and_worsens_ttft() -> None:
    """2 + 2 replicas whose prefill and links are in balance, and bursts of equal prompts.

    With 2 prefill replicas, prompts queue before prefill and their KV crosses the links almost
    one by one. With 6, the KV of the whole burst is on the links at once, every transfer slows
    all others down, and none has a first token until the whole crowd is nearly through.
    """
    ttft, backlog = mean_ttft_and_backlog(PerRole(2, 2))
    tripled_ttft, tripled_backlog = mean_ttft_and_backlog(PerRole(6, 2))
    both_ttft, both_backlog = mean_ttft_and_backlog(PerRole(6, 6))
    assert tripled_backlog > 3 * backlog
    assert tripled_ttft > 1.1 * ttft
    assert both_ttft < 0.6 * ttft
    assert both_backlog < 1.1 * backlog


def test_tripling_prefill_cannot_cure_a_lack_of_decode_memory() -> None:
    """Load beyond decode: the queue moves from the prompts to the KV hand-off, and that is all."""
    requests = steady(per_second=45, until_seconds=120)
    before, _ = watched(LLAMA_8B, PerRole(1, 2), requests, every_seconds=30)
    ttft, seen = watched(LLAMA_8B, PerRole(3, 2), requests, every_seconds=30)
    backlog = [snapshot.transfer_backlog_tokens for snapshot in seen]
    assert ttft == sorted(ttft)
    assert ttft == pytest.approx(before, rel=0.1)
    assert backlog[0] > 200_000
    assert min(backlog[2:]) > 1e6  # all the memory that prefill has
    assert seen[-1].kv_usage_fraction > 0.95
    cured, seen = watched(LLAMA_8B, PerRole(1, 4), requests, every_seconds=30)
    assert max(cured) < 1.0
    assert seen[-1].transfer_backlog_tokens < 20_000


@pytest.mark.parametrize("prefill", [1, 2, 3])
def test_held_kv_stops_prefill_when_decode_takes_none(prefill: int) -> None:
    """Back-pressure: prefill goes on until its memory is full of KV that cannot leave."""
    plant = Plant(LLAMA_8B, PerRole(prefill, 0))
    plant.offer(steady(per_second=200, until_seconds=30))
    plant.advance(60.0)
    seen = plant.snapshot()
    assert seen.running_requests.prefill == 0
    assert seen.waiting_requests.prefill > 0
    most = prefill * LLAMA_8B.prefill.kv_capacity_tokens
    assert 0.95 * most < seen.transfer_backlog_tokens <= most
