"""A pair of Deployments over HTTP: what goes right, and everything that can go wrong."""

from __future__ import annotations

import pytest

from planner.journal import Record
from planner.kube import PODS, KubeSettings, Resource, connect
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.deployment import Deployment
from planner.workloads.leaderworkerset import LeaderWorkerSet
from planner.workloads.permissions import access_for
from policies.types import Decision, Observation, PerRole, PoolState, Role, Unavailable

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
DEPLOYMENTS = Deployment.resource


def deployment(role: Role, desired: int, **status: int) -> dict:
    labels = {"app": "vllm", "role": role}
    counts = {"replicas": desired, "readyReplicas": desired, "updatedReplicas": desired}
    limits = {"nvidia.com/gpu": "2"}
    return {
        "metadata": {"namespace": "llm", "name": f"vllm-{role}"},
        "spec": {
            "replicas": desired,
            "selector": {"matchLabels": labels},
            "template": {"spec": {"containers": [{"resources": {"limits": limits}}]}},
        },
        "status": {**counts, "observedGeneration": 1, **status},
    }


def pod(name: str, role: Role, *, created: str, ready: bool = True, **extra: str) -> dict:
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": created}]
    return {
        "metadata": {
            "namespace": "llm",
            "name": name,
            "labels": {"app": "vllm", "role": role},
            "creationTimestamp": created,
            **extra,
        },
        "status": {"phase": "Running", "conditions": conditions},
    }


@pytest.fixture
def pair(api_server):
    server, kube = api_server
    server.serve(DEPLOYMENTS, scale=True)
    for role, replicas in ((Role.PREFILL, 2), (Role.DECODE, 4)):
        server.put(DEPLOYMENTS, deployment(role, replicas))
    config = WorkloadConfig.model_validate(
        {
            "namespace": "llm",
            "prefill": {"kind": "Deployment", "name": "vllm-prefill"},
            "decode": {"kind": "Deployment", "name": "vllm-decode"},
        }
    )
    return server, make_workload(config, kube)


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


AUTOSCALERS = [
    pytest.param(
        Resource("autoscaling", "v2", "horizontalpodautoscalers"),
        {"kind": "Deployment", "name": "vllm-decode"},
        "HorizontalPodAutoscaler mine",
        id="hpa",
    ),
    pytest.param(
        Resource("keda.sh", "v1alpha1", "scaledobjects"),
        {"name": "vllm-decode"},
        "KEDA ScaledObject mine",
        id="keda-default-kind",
    ),
    pytest.param(
        Resource("autoscaling.aibrix.ai", "v1alpha1", "podautoscalers"),
        {"kind": "Deployment", "name": "vllm-decode"},
        "AIBrix PodAutoscaler mine",
        id="aibrix",
    ),
    pytest.param(
        Resource("autoscaling", "v2", "horizontalpodautoscalers"),
        {"kind": "StatefulSet", "name": "vllm-decode"},
        None,
        id="same-name-of-another-kind",
    ),
]


@pytest.mark.parametrize(("resource", "reference", "writer"), AUTOSCALERS)
async def test_another_autoscaler_is_named_and_not_fought(pair, resource, reference, writer):
    server, workload = pair
    meta = {"namespace": "llm", "name": "mine"}
    server.put(resource, {"metadata": meta, "spec": {"scaleTargetRef": reference}})
    pools = await workload.read(NOW)
    assert pools.decode.other_writer == writer
    failures = await workload.scale(PerRole(2, 6))
    assert [failure.role for failure in failures] == ([Role.DECODE] if writer else [])
    assert len(server.writes()) == (0 if writer else 1)


def _kubectl_scale(server, replicas: int) -> None:
    found = server.at(DEPLOYMENTS, "vllm-decode")
    found["spec"]["replicas"] = replicas
    who = {"manager": "kubectl", "subresource": "scale", "time": "2023-11-14T22:13:00Z"}
    found["metadata"].setdefault("managedFields", []).append(who)
    server.touch(found)


async def test_a_human_change_is_respected_for_its_time(pair):
    server, workload = pair
    await workload.read(NOW)
    _kubectl_scale(server, 9)
    pools = await workload.read(NOW + 10)
    assert pools.decode.other_writer == "kubectl has set its replicas to 9"
    (failure,) = await workload.scale(PerRole(2, 5))
    assert "kubectl has set its replicas to 9" in failure.why
    pools = await workload.read(NOW + 609)
    assert pools.decode.other_writer is not None
    pools = await workload.read(NOW + 611)
    assert pools.decode.other_writer is None
    assert await workload.scale(PerRole(2, 5)) == ()


async def test_our_own_change_is_not_taken_for_another(pair):
    _, workload = pair
    await workload.read(NOW)
    await workload.scale(PerRole(2, 5))
    pools = await workload.read(NOW + 10)
    assert pools.decode.other_writer is None


@pytest.mark.parametrize("deadline_seconds", [1.0])
async def test_our_change_is_ours_even_when_its_answer_is_lost(pair):
    server, workload = pair
    await workload.read(NOW)
    server.hang = "PATCH .*decode"
    await workload.scale(PerRole(2, 5))
    server.hang = None
    server.at(DEPLOYMENTS, "vllm-decode")["spec"]["replicas"] = 5  # it had arrived
    pools = await workload.read(NOW + 10)
    assert pools.decode.other_writer is None


def _advise(workload, target: PerRole[int], at: float) -> None:
    decision = Decision(decided_at_seconds=at, current=PerRole(2, 4), target=target)
    workload.heed(
        Record(
            observation=Observation(observed_at_seconds=at, window_seconds=60.0),
            pools=PerRole(Unavailable("-"), Unavailable("-")),
            decision=decision,
        )
    )


@pytest.mark.parametrize(
    ("advised", "by_hand", "later", "respected"),
    [
        pytest.param(8, 8, 10, False, id="as-advised"),
        pytest.param(8, 6, 10, False, id="part-of-the-way"),
        pytest.param(8, 9, 10, True, id="beyond"),
        pytest.param(8, 3, 10, True, id="the-other-way"),
        pytest.param(1, 2, 10, False, id="in-part-of-the-way"),
        pytest.param(8, 8, 700, True, id="an-advice-of-long-ago"),
        pytest.param(4, 5, 10, True, id="advised-to-stay"),
    ],
)
async def test_whoever_follows_the_advice_by_hand_does_not_disagree(
    pair, advised, by_hand, later, respected
):
    server, workload = pair
    await workload.read(NOW)
    _advise(workload, PerRole(2, advised), NOW)
    _kubectl_scale(server, by_hand)
    pools = await workload.read(NOW + later)
    assert (pools.decode.other_writer is not None) is respected


async def test_an_advice_that_has_changed_since_may_still_be_followed(pair):
    server, workload = pair
    await workload.read(NOW)
    _advise(workload, PerRole(2, 8), NOW)
    _advise(workload, PerRole(2, 5), NOW + 10)
    _kubectl_scale(server, 8)
    pools = await workload.read(NOW + 20)
    assert pools.decode.other_writer is None


@pytest.mark.parametrize(
    ("owner", "held"),
    [
        pytest.param("DynamoComponentDeployment", True, id="it-writes-the-count"),
        pytest.param("LLMInferenceService", False, id="it-leaves-the-count-alone"),
        pytest.param("Application", False, id="it-only-made-it"),
    ],
)
async def test_a_child_is_not_scaled_behind_its_owner_s_back(pair, owner, held):
    server, workload = pair
    found = server.at(DEPLOYMENTS, "vllm-decode")
    found["metadata"]["ownerReferences"] = [{"kind": owner, "name": "m", "controller": True}]
    pools = await workload.read(NOW)
    words = f"its owner {owner} m, which is the one to configure"
    assert pools.decode.other_writer == (words if held else None)
    failures = await workload.scale(PerRole(2, 6))
    assert bool(failures) is held


async def test_a_second_planner_is_told_by_its_name(pair):
    server, workload = pair
    await workload.read(NOW)
    found = server.at(DEPLOYMENTS, "vllm-decode")
    for manager, minute in (("kubectl", 1), ("pd-planner", 2)):
        who = {"manager": manager, "subresource": "scale", "time": f"2023-11-14T22:0{minute}:00Z"}
        found["metadata"].setdefault("managedFields", []).append(who)
    found["spec"]["replicas"] = 9
    server.touch(found)
    pools = await workload.read(NOW + 10)
    assert pools.decode.other_writer == "another pd-planner has set its replicas to 9"


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
