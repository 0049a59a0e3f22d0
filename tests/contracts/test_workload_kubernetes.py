"""A pair of Deployments over HTTP: what goes right, and everything that can go wrong."""

from __future__ import annotations

import pytest
from deployments import DEPLOYMENTS, NOW, deployment, pod

from planner.kube import PODS, KubeSettings, connect
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.leaderworkerset import LeaderWorkerSet
from planner.workloads.permissions import access_for
from policies.types import PerRole, PoolState, Role, Unavailable


async def test_reads_desired_ready_starting_and_draining(pair):
    server, workload = pair
    server.put(DEPLOYMENTS, deployment(Role.DECODE, 4, readyReplicas=2))
    server.put(PODS, pod("d-1", Role.DECODE, created="2023-11-14T22:00:00Z"))
    server.put(PODS, pod("d-2", Role.DECODE, created="2023-11-14T22:00:00Z"))
    server.put(PODS, pod("d-3", Role.DECODE, created="2023-11-14T22:12:50Z", ready=False))
    gone = "2023-11-14T22:13:00Z"
    server.put(
        PODS, pod("d-0", Role.DECODE, created="2023-11-14T21:00:00Z", deletionTimestamp=gone)
    )
    server.put(PODS, pod("p-1", Role.PREFILL, created="2023-11-14T22:00:00Z"))
    pools = await workload.read(NOW)
    decode = pools.decode
    assert isinstance(decode, PoolState)
    assert (decode.desired_replicas, decode.ready_replicas) == (4, 2)
    # d-3 is 30 s old; the fourth has no pod yet, so its start has just begun.
    assert decode.starting_ages_seconds == (30.0, 0.0)
    assert decode.draining_replicas == 1
    assert not decode.rollout_in_progress


@pytest.mark.parametrize(
    ("status", "rollout"),
    [
        pytest.param({"observedGeneration": 0, "readyReplicas": 3}, False, id="pure-scale-out"),
        pytest.param({"replicas": 5, "updatedReplicas": 1}, True, id="old-pods-remain"),
        pytest.param({"replicas": 3, "readyReplicas": 3, "updatedReplicas": 3}, False, id="lag"),
    ],
)
async def test_only_two_templates_at_once_are_a_rollout(pair, status, rollout):
    server, workload = pair
    server.put(DEPLOYMENTS, deployment(Role.DECODE, 4, **status))
    pools = await workload.read(NOW)
    assert pools.decode.rollout_in_progress is rollout


async def test_scales_out_before_in_through_the_scale_subresource(pair):
    server, workload = pair
    await workload.read(NOW)
    assert await workload.scale(PerRole(1, 6)) == ()
    paths = [path for path, _ in server.writes()]
    root = "/apis/apps/v1/namespaces/llm/deployments/vllm-"
    assert paths == [f"{root}decode/scale", f"{root}prefill/scale"]
    decode = server.at(DEPLOYMENTS, "vllm-decode")
    assert decode["spec"]["replicas"] == 6
    assert decode["metadata"]["managedFields"][-1]["manager"] == "pd-planner"


async def test_an_equal_count_is_not_written(pair):
    server, workload = pair
    await workload.read(NOW)
    assert await workload.scale(PerRole(2, 4)) == ()
    assert await workload.scale(PerRole(2, 5)) == ()
    assert await workload.scale(PerRole(2, 5)) == ()
    assert len(server.writes()) == 1


async def test_a_conflict_over_status_is_retried_once(pair):
    server, workload = pair
    await workload.read(NOW)
    server.before_patch = lambda: server.touch(server.at(DEPLOYMENTS, "vllm-decode"))
    assert await workload.scale(PerRole(2, 5)) == ()
    assert server.at(DEPLOYMENTS, "vllm-decode")["spec"]["replicas"] == 5
    assert len(server.writes()) == 2


async def test_a_conflict_over_replicas_is_left_to_the_other(pair):
    server, workload = pair
    await workload.read(NOW)

    def someone_scales() -> None:
        found = server.at(DEPLOYMENTS, "vllm-decode")
        found["spec"]["replicas"] = 9
        server.touch(found)

    server.before_patch = someone_scales
    (failure,) = await workload.scale(PerRole(2, 5))
    assert failure.role is Role.DECODE
    assert "somebody changed its replicas from 4 to 9" in failure.why
    assert server.at(DEPLOYMENTS, "vllm-decode")["spec"]["replicas"] == 9


async def test_a_stale_read_does_not_write_twice(pair):
    server, workload = pair
    old = deployment(Role.DECODE, 4)
    old["metadata"] |= {"resourceVersion": "1", "generation": 1}
    server.put(DEPLOYMENTS, deployment(Role.DECODE, 6))
    key = server.key(DEPLOYMENTS, old["metadata"])
    server.stale[key] = old
    await workload.read(NOW)
    del server.stale[key]
    assert await workload.scale(PerRole(2, 6)) == ()
    assert server.at(DEPLOYMENTS, "vllm-decode")["metadata"]["generation"] == 1


async def test_persisting_conflict_is_a_failure(pair):
    server, workload = pair
    await workload.read(NOW)
    for _ in range(2):
        server.fail("PATCH .*decode", 409, "modified")
    (failure,) = await workload.scale(PerRole(2, 5))
    assert "was changed by somebody else" in failure.why


async def test_a_half_applied_pair_is_reported_and_repaired(pair):
    server, workload = pair
    await workload.read(NOW)
    server.fail("PATCH .*prefill", 422, "admission webhook denied it")
    (failure,) = await workload.scale(PerRole(1, 6))
    assert failure.role is Role.PREFILL
    assert "admission webhook denied it" in failure.why
    pools = await workload.read(NOW)
    assert (pools.prefill.desired_replicas, pools.decode.desired_replicas) == (2, 6)
    assert await workload.scale(PerRole(1, 6)) == ()


async def test_a_failed_scale_out_keeps_the_other_role_from_shrinking(pair):
    server, workload = pair
    await workload.read(NOW)
    server.granted = []
    failures = await workload.scale(PerRole(1, 6))
    assert [failure.role for failure in failures] == [Role.DECODE, Role.PREFILL]
    assert "could not be scaled first" in failures[1].why
    assert len(server.writes()) == 1


@pytest.mark.parametrize(
    ("pattern", "code", "headers", "times", "words"),
    [
        pytest.param(
            "GET .*/pods",
            403,
            {},
            1,
            'verb list on resource pods of group "" in namespace llm',
            id="403",
        ),
        pytest.param("GET .*decode$", 401, {}, 1, "credentials", id="401"),
        pytest.param("GET .*decode$", 500, {}, 3, "answered 500", id="500-persisting"),
        pytest.param(
            "GET .*decode$", 429, {"Retry-After": "60"}, 1, "answered 429", id="429-too-long"
        ),
        pytest.param("GET .*decode/scale", 503, {}, 3, "answered 503", id="503-scale"),
    ],
)
async def test_an_unreadable_pool_is_a_value(pair, pattern, code, headers, times, words):
    server, workload = pair
    for _ in range(times):
        server.fail(pattern, code, **headers)
    pools = await workload.read(NOW)
    unreadable = pools.prefill if "pods" in pattern else pools.decode
    if "pods" in pattern and isinstance(unreadable, PoolState):
        unreadable = pools.decode  # the two roles are read at the same time
    assert isinstance(unreadable, Unavailable)
    assert words in unreadable.why
    assert any(isinstance(pool, PoolState) for pool in pools)


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        pytest.param(500, {}, id="500"),
        pytest.param(429, {"Retry-After": "0"}, id="429-retry-after"),
    ],
)
async def test_a_passing_outage_is_waited_out(pair, code, headers):
    server, workload = pair
    server.fail("GET .*decode$", code, **headers)
    pools = await workload.read(NOW)
    assert isinstance(pools.decode, PoolState)


async def test_no_write_rests_on_a_pool_that_could_not_be_read(pair):
    server, workload = pair
    del server.objects[server.key(DEPLOYMENTS, server.at(DEPLOYMENTS, "vllm-decode")["metadata"])]
    await workload.read(NOW)
    failures = await workload.scale(PerRole(1, 6))
    assert {failure.role for failure in failures} == {Role.PREFILL, Role.DECODE}
    assert failures[0].why == "not scaled: deployments.apps llm/vllm-decode was not found"
    assert server.writes() == []


@pytest.mark.parametrize("deadline_seconds", [1.0])
async def test_a_server_that_never_answers_costs_one_deadline(pair):
    server, workload = pair
    server.hang = "GET .*decode"
    pools = await workload.read(NOW)
    assert isinstance(pools.prefill, PoolState)
    assert "no answer from the API server within 1 s" in pools.decode.why


@pytest.mark.parametrize("deadline_seconds", [1.0])
async def test_a_write_that_never_answers_is_a_failure(pair):
    server, workload = pair
    await workload.read(NOW)
    server.hang = "PATCH .*decode"
    (failure,) = await workload.scale(PerRole(2, 5))
    assert "no answer" in failure.why


async def test_an_api_that_is_not_installed_is_told_from_a_missing_object(api_server):
    _, kube = api_server
    config = WorkloadConfig.model_validate(
        {
            "namespace": "llm",
            "prefill": {"kind": "Deployment", "name": "a"},
            "decode": {"kind": "StatefulSet", "name": "b"},
        }
    )
    pools = await make_workload(config, kube).read(NOW)
    assert "does not serve statefulsets of apps/v1" in pools.decode.why


async def test_an_unreachable_server_is_a_value(unused_tcp_port):
    kube = await connect(KubeSettings(api_server=f"http://127.0.0.1:{unused_tcp_port}"))
    config = WorkloadConfig.model_validate(
        {
            "namespace": "llm",
            "prefill": {"kind": "Deployment", "name": "a"},
            "decode": {"kind": "Deployment", "name": "b"},
        }
    )
    workload = make_workload(config, kube)
    pools = await workload.read(NOW)
    assert all("cannot be reached" in pool.why for pool in pools)
    await workload.close()


async def test_roles_of_different_kinds_and_namespaces_are_one_pair(api_server):
    server, kube = api_server
    sets = LeaderWorkerSet.resource
    server.serve(DEPLOYMENTS, scale=True)
    server.serve(sets, scale=True)
    server.put(DEPLOYMENTS, deployment(Role.PREFILL, 2))
    groups = {"replicas": 3, "leaderWorkerTemplate": {"size": 4}}
    status = {"replicas": 3, "readyReplicas": 3}
    meta = {"namespace": "other", "name": "d"}
    server.put(sets, {"metadata": meta, "spec": groups, "status": status})
    config = WorkloadConfig.model_validate(
        {
            "namespace": "llm",
            "prefill": {"kind": "Deployment", "name": "vllm-prefill"},
            "decode": {"kind": "LeaderWorkerSet", "name": "d", "namespace": "other"},
        }
    )
    workload = make_workload(config, kube)
    pools = await workload.read(NOW)
    assert pools.map(lambda pool: pool.desired_replicas) == PerRole(2, 3)
    assert pools.map(lambda pool: pool.pods_per_replica) == PerRole(1, 4)
    assert await workload.scale(PerRole(1, 5)) == ()
    assert server.at(sets, "d", "other")["spec"]["replicas"] == 5
    assert server.at(DEPLOYMENTS, "vllm-prefill")["spec"]["replicas"] == 1
    roles = [each for each in access_for(config, "pd-planner", "llm") if each["kind"] == "Role"]
    plurals = {each["metadata"]["namespace"]: str(each["rules"]) for each in roles}
    assert "deployments" in plurals["llm"]
    assert "leaderworkersets" not in plurals["llm"]
    assert "leaderworkersets" in plurals["other"]
    assert "'pods'], 'verbs': ['list']" in plurals["other"]  # no mark where none is looked at
