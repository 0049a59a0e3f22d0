"""Whoever else sizes a pair of Deployments is named, and not fought."""

from __future__ import annotations

import pytest
from deployments import DEPLOYMENTS, NOW

from planner.journal import Record
from planner.kube import Resource
from planner.workloads.config import WorkloadConfig, make_workload
from policies.types import Decision, Observation, PerRole, Role, Unavailable

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


PROXIES = Resource("example.com", "v1", "inferenceproxies")


@pytest.mark.parametrize(
    ("aims_at", "writer"),
    [
        pytest.param("InferenceProxy", "HorizontalPodAutoscaler mine", id="irregular-plural"),
        pytest.param("InferenceProxies", None, id="no-kind-of-its"),
    ],
)
async def test_an_autoscaler_is_seen_whatever_the_plural_of_its_target(api_server, aims_at, writer):
    server, kube = api_server
    server.serve(PROXIES, scale=True)
    server.kinds["inferenceproxies"] = "InferenceProxy"
    status = {"replicas": 2, "selector": "app=proxy"}
    for role in Role:
        meta = {"namespace": "llm", "name": str(role)}
        server.put(PROXIES, {"metadata": meta, "spec": {"replicas": 2}, "status": status})
    reference = {"kind": aims_at, "name": "decode"}
    meta = {"namespace": "llm", "name": "mine"}
    hpas = Resource("autoscaling", "v2", "horizontalpodautoscalers")
    server.put(hpas, {"metadata": meta, "spec": {"scaleTargetRef": reference}})
    scale = {"kind": "scale", "group": "example.com", "version": "v1", "plural": PROXIES.plural}
    pools = {str(role): {**scale, "name": str(role)} for role in Role}
    config = WorkloadConfig.model_validate({"namespace": "llm", **pools})
    workload = make_workload(config, kube)
    for _ in range(2):
        assert (await workload.read(NOW)).decode.other_writer == writer
    asked = [path for _, path, _ in server.log if path == "/apis/example.com/v1"]
    assert len(asked) == 1


async def test_an_autoscaler_whose_target_cannot_be_told_holds_the_pool(pair):
    server, workload = pair
    meta = {"namespace": "llm", "name": "mine"}
    reference = {"kind": "Deployment", "name": "vllm-decode"}
    hpas = Resource("autoscaling", "v2", "horizontalpodautoscalers")
    server.put(hpas, {"metadata": meta, "spec": {"scaleTargetRef": reference}})
    server.fail("GET /apis/apps/v1$", 403, "no discovery for you")
    pools = await workload.read(NOW)
    assert "no discovery for you" in pools.decode.why
    assert (await workload.read(NOW)).decode.other_writer == "HorizontalPodAutoscaler mine"


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
