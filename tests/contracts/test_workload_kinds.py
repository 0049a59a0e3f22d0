"""Every kind of workload, with its real shape, does what a workload must."""

from __future__ import annotations

import copy

import pytest
from workload_scene import START, Scene
from workload_scenes import SCENES

from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.permissions import access_for
from policies.types import PerRole, PoolState, Role, Unavailable

NOW = 1_700_000_000.0


@pytest.fixture(params=[pytest.param(scene, id=name) for name, scene in SCENES.items()])
def scene(request) -> Scene:
    return copy.deepcopy(request.param)


@pytest.fixture
def config(scene: Scene) -> WorkloadConfig:
    return WorkloadConfig.model_validate({"namespace": "llm", **scene.pools})


@pytest.fixture
def stage(scene: Scene, config: WorkloadConfig, api_server):
    """The scene on a server that grants exactly the generated Role."""
    server, kube = api_server
    server.scalable |= set(scene.scalable)
    for resource, found in scene.objects:
        server.put(resource, found)
    server.granted = access_for(config, "pd-planner", "llm")[0]["rules"]
    return server, make_workload(config, kube)


async def test_both_pools_are_read(stage, scene):
    _, workload = stage
    pools = await workload.read(NOW)
    for role, pool in pools.items():
        assert isinstance(pool, PoolState), pool
        assert pool.desired_replicas == START[role]
        assert pool.gpus_per_replica == scene.gpus
        assert pool.floor_replicas == scene.floor
        assert not pool.rollout_in_progress
        assert pool.other_writer is None


async def test_a_change_reaches_the_count_that_is_obeyed(stage, scene):
    server, workload = stage
    await workload.read(NOW)
    target = PerRole(4, 7)
    assert await workload.scale(target) == ()
    assert PerRole.of(lambda role: scene.counts(server, role)) == target
    paths = [path.partition("/namespaces/llm/")[2] for path, _ in server.writes()]
    assert tuple(paths) == scene.writes
    assert await workload.scale(target) == ()
    assert len(server.writes()) == len(scene.writes)


async def test_an_equal_count_is_not_written(stage):
    server, workload = stage
    await workload.read(NOW)
    assert await workload.scale(PerRole(2, 3)) == ()
    assert server.writes() == []


async def test_a_change_of_status_meanwhile_costs_one_retry(stage, scene):
    server, workload = stage
    await workload.read(NOW)
    server.before_patch = lambda: [server.touch(found) for found in server.objects.values()]
    assert await workload.scale(PerRole(2, 5)) == ()
    assert scene.counts(server, Role.DECODE) == 5


async def test_a_rollout_is_told(stage, scene):
    server, workload = stage
    scene.rolling(server)
    pools = await workload.read(NOW)
    assert pools.decode.rollout_in_progress


async def test_the_floor_holds(stage, scene):
    server, workload = stage
    await workload.read(NOW)
    failures = await workload.scale(PerRole(2, 1))
    assert scene.counts(server, Role.DECODE) == scene.floor
    assert [failure.role for failure in failures] == ([Role.DECODE] if scene.floor > 1 else [])


@pytest.mark.parametrize("code", [401, 403, 404, 500])
async def test_a_failing_read_is_a_value(stage, code):
    server, workload = stage
    for _ in range(6):
        server.fail("GET .*/namespaces/llm/[a-z]+/m", code, **{"Retry-After": "0"})
    pools = await workload.read(NOW)
    assert all(isinstance(pool, Unavailable) and pool.why for pool in pools)


@pytest.mark.parametrize("code", [403, 422, 500])
async def test_a_refused_write_is_a_failure_and_repaired_by_the_next(stage, scene, code):
    server, workload = stage
    await workload.read(NOW)
    for _ in range(6):
        server.fail("PATCH", code, "refused", **{"Retry-After": "0"})
    failures = await workload.scale(PerRole(4, 5))
    assert {failure.role for failure in failures} == {Role.PREFILL, Role.DECODE}
    assert all("refused" in failure.why or "somebody" in failure.why for failure in failures)
    server.faults.clear()
    await workload.read(NOW)
    assert await workload.scale(PerRole(4, 5)) == ()
    assert scene.counts(server, Role.DECODE) == 5
