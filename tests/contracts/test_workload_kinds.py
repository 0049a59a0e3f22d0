"""Every kind of workload does what a workload must, on the double and on a real API server.

The real one runs where KUBEBUILDER_ASSETS points to the binaries of envtest, kube-apiserver and
etcd (`setup-envtest use -p path`): its RBAC, its optimistic locking, its scale subresources.
"""

from __future__ import annotations

import pytest
from workload_scene import START, pods_of
from workload_stages import RealStage

from policies.types import PerRole, PoolState, Role, Unavailable


async def test_without_the_role_nothing_is_read(bare) -> None:
    if isinstance(bare, RealStage):
        await bare.set_up()
    else:
        bare.server.granted = []
    pools = await bare.read()
    assert all(isinstance(pool, Unavailable) and "not allowed" in pool.why for pool in pools)


async def test_both_pools_are_read(stage) -> None:
    for role, pool in (await stage.read()).items():
        assert isinstance(pool, PoolState), pool
        assert pool.desired_replicas == START[role]
        assert pool.gpus_per_replica == stage.scene.gpus
        assert pool.floor_replicas == stage.scene.floor
        assert not pool.rollout_in_progress
        assert pool.other_writer is None


async def test_a_change_reaches_the_count_that_is_obeyed(stage) -> None:
    await stage.read()
    assert await stage.workload.scale(PerRole(4, 7)) == ()
    assert await stage.counts() == PerRole(4, 7)
    pools = await stage.read()
    assert pools.map(lambda pool: (pool.desired_replicas, pool.other_writer)) == PerRole(
        (4, None), (7, None)
    )


async def test_an_equal_count_is_not_written(stage) -> None:
    await stage.read()
    before = await stage.versions()
    assert await stage.workload.scale(PerRole(2, 3)) == ()
    assert await stage.versions() == before
    assert await stage.workload.scale(PerRole(2, 4)) == ()
    once = await stage.versions()
    assert once != before
    assert await stage.workload.scale(PerRole(2, 4)) == ()
    assert await stage.versions() == once


async def test_a_change_of_anything_else_meanwhile_costs_one_retry(stage) -> None:
    await stage.read()
    await stage.change(lambda _: None)
    assert await stage.workload.scale(PerRole(2, 5)) == ()
    assert (await stage.counts()).decode == 5


async def test_both_roles_are_written_over_a_change_of_anything_else(stage) -> None:
    await stage.read()
    await stage.change(lambda _: None)
    assert await stage.workload.scale(PerRole(4, 5)) == ()
    assert await stage.counts() == PerRole(4, 5)


async def test_a_rollout_is_told(stage) -> None:
    if stage.scene.rolling is None:
        pytest.skip("a scale subresource says nothing of rollouts")
    await stage.change(stage.scene.rolling)
    pools = await stage.read()
    assert pools.decode.rollout_in_progress


async def test_a_status_that_lags_behind_is_no_rollout(stage) -> None:
    """A scale-out raises the generation; the controller has not looked at it yet."""
    await stage.pods(pods_of(stage.scene))
    await stage.read()
    assert await stage.workload.scale(PerRole(4, 7)) == ()
    pools = await stage.read()
    assert not any(pool.rollout_in_progress for pool in pools)
    assert pools.decode.starting_replicas == 4


async def test_the_floor_holds(stage) -> None:
    await stage.read()
    floor = stage.scene.floor
    failures = await stage.workload.scale(PerRole(1, 1))
    assert await stage.counts() == PerRole(floor, floor)
    assert {failure.role for failure in failures} == (set(Role) if floor > 1 else set())


@pytest.mark.parametrize("loss", ["not ready", "missing"])
async def test_a_replica_is_whole_or_starting(stage, loss) -> None:
    pods = pods_of(stage.scene)
    victim = next(pod for pod in pods if pod["metadata"]["name"].startswith("decode-0"))
    if loss == "not ready":
        victim["status"]["conditions"][0]["status"] = "False"
    elif stage.scene.size > 1:
        pods.remove(victim)
    await stage.pods(pods)
    pools = await stage.read()
    assert pools.prefill.starting_replicas == 0
    broken = loss == "not ready" or stage.scene.size > 1
    assert pools.decode.starting_replicas == (1 if broken else 0)
    assert pools.decode.pods_per_replica == stage.scene.size
    assert pools.decode.nodes == {f"node-decode-{n}" for n in range(3)}
