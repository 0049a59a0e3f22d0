"""What every Workload promises, run over every implementation."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from planner.ports import Workload
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.deployment import Deployment
from planner.workloads.in_memory import InMemoryWorkload
from planner.workloads.simulated import SimulatedWorkload
from policies.config import Slo
from policies.profile import builtin
from policies.types import PerRole, PoolState
from replay.fleet import Fleet
from replay.physics import Physics
from replay.plant import Plant


async def in_memory(_) -> Workload:
    return InMemoryWorkload(PerRole(2, 3))


async def simulated(_) -> Workload:
    physics = Physics.from_profile(
        builtin("llama-3-8b-h100-fp8-tp1"), startup_seconds=PerRole(60.0, 60.0)
    )
    plant = Plant(physics, PerRole(2, 3), compiled=False)
    return SimulatedWorkload(Fleet(plant, iter(()), Slo()))


async def deployments(api_server) -> Workload:
    server, kube = api_server
    server.serve(Deployment.resource, scale=True)
    for name, replicas in (("p", 2), ("d", 3)):
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}}
        meta = {"namespace": "llm", "name": name}
        status = {"replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas}
        server.put(Deployment.resource, {"metadata": meta, "spec": spec, "status": status})
    config = {
        "namespace": "llm",
        "prefill": {"kind": "Deployment", "name": "p"},
        "decode": {"kind": "Deployment", "name": "d"},
    }
    return make_workload(WorkloadConfig.model_validate(config), kube)


@pytest.fixture(params=[in_memory, simulated, deployments], ids=lambda make: make.__name__)
async def workload(request, api_server) -> AsyncIterator[Workload]:
    made = await request.param(api_server)
    yield made
    await made.close()


async def test_both_pools_are_read(workload):
    pools = await workload.read(1.0)
    assert all(isinstance(pool, PoolState) for pool in pools)
    assert pools.map(lambda pool: pool.desired_replicas) == PerRole(2, 3)
    assert pools.map(lambda pool: pool.ready_replicas) == PerRole(2, 3)


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(PerRole(4, 3), id="one-out"),
        pytest.param(PerRole(1, 1), id="both-in"),
        pytest.param(PerRole(1, 5), id="capacity-moves"),
        pytest.param(PerRole(2, 3), id="equal"),
    ],
)
async def test_a_target_is_read_back_as_desired(workload, target):
    await workload.read(1.0)
    assert await workload.scale(target) == ()
    pools = await workload.read(2.0)
    assert pools.map(lambda pool: pool.desired_replicas) == target


async def test_scaling_twice_to_the_same_is_once(workload):
    await workload.read(1.0)
    assert await workload.scale(PerRole(3, 4)) == ()
    assert await workload.scale(PerRole(3, 4)) == ()
    pools = await workload.read(2.0)
    assert pools.map(lambda pool: pool.desired_replicas) == PerRole(3, 4)


async def test_new_replicas_start_and_are_not_ready_in_no_time(workload):
    await workload.read(1.0)
    await workload.scale(PerRole(2, 4))
    decode = (await workload.read(1.0)).decode
    assert decode.ready_replicas + decode.starting_replicas == 4


async def test_closing_twice_is_harmless(workload):
    await workload.close()
