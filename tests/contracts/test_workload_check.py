"""`planner check --cluster-only` against an API server: what stands in the way, and what to do."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path

import pytest

from planner.__main__ import main
from planner.kube import PODS, Json, Resource
from planner.workloads.config import WorkloadConfig
from planner.workloads.deployment import Deployment
from planner.workloads.leaderworkerset import LeaderWorkerSet
from planner.workloads.permissions import access_for
from policies.types import Role

DOCUMENT = Path(__file__).parents[2] / "docs" / "workloads.md"
WORKLOAD = {
    "namespace": "llm",
    "prefill": {"kind": "Deployment", "name": "vllm-prefill"},
    "decode": {"kind": "Deployment", "name": "vllm-decode"},
}
HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
PROBES = {"readinessProbe": {}, "startupProbe": {}}


def pod(role: Role, *, grace_seconds: int, **container: Json) -> Json:
    limits = {"limits": {"nvidia.com/gpu": "2"}}
    return {
        "metadata": {
            "namespace": "llm",
            "name": f"vllm-{role}-1",
            "labels": {"role": str(role)},
            "creationTimestamp": "2023-11-14T22:00:00Z",
        },
        "spec": {
            "terminationGracePeriodSeconds": grace_seconds,
            "containers": [{"name": "vllm", "resources": limits, **container}],
        },
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }


@pytest.fixture
def cluster(api_server):
    """Two healthy Deployments, and a planner with exactly its Role."""
    server, _ = api_server
    server.serve(Deployment.resource, scale=True)
    for role, n in ((Role.PREFILL, 2), (Role.DECODE, 4)):
        found = {
            "metadata": {"namespace": "llm", "name": f"vllm-{role}"},
            "spec": {"replicas": n, "selector": {"matchLabels": {"role": str(role)}}},
            "status": {"replicas": n, "readyReplicas": n, "updatedReplicas": n},
        }
        server.put(Deployment.resource, found)
        server.put(PODS, pod(role, grace_seconds=120, **PROBES))
    config = WorkloadConfig.model_validate(WORKLOAD)
    server.granted = access_for(config, "pd-planner", "llm")[0]["rules"]
    return server


@pytest.fixture
def check(cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command; return its exit code and its lines."""

    async def run(mode: str = "act", more: str = "") -> tuple[int, list[str]]:
        file = tmp_path / "planner.yaml"
        file.write_text(
            f"mode: {mode}\nmetrics: {{url: 'http://127.0.0.1:9', model: m}}\n"
            "workload:\n  namespace: llm\n"
            "  prefill: {kind: Deployment, name: vllm-prefill}\n"
            "  decode: {kind: Deployment, name: vllm-decode}\n"
            f"  kubernetes: {{api_server: '{cluster.url}', deadline_seconds: 2}}\n{more}"
        )
        code = await asyncio.to_thread(main, ["check", "--cluster-only", "-c", str(file)])
        return code, capsys.readouterr().out.splitlines()

    return run


async def test_a_healthy_cluster_is_ready_as_the_document_shows(check) -> None:
    code, lines = await check()
    assert code == 0
    assert textwrap.indent("\n".join(filter(None, lines)), "    ") in DOCUMENT.read_text()


def without(server, plural: str, verb: str) -> None:
    server.granted = [
        rule | {"verbs": [each for each in rule["verbs"] if each != verb]}
        if plural in rule["resources"]
        else rule
        for rule in server.granted
    ]


@pytest.mark.parametrize(
    ("plural", "verb", "mode", "mark"),
    [
        pytest.param("deployments/scale", "patch", "act", "FAILED", id="act-cannot-write"),
        pytest.param("events", "create", "act", "warning", id="events-are-not-needed"),
        pytest.param("pods", "patch", "act", "warning", id="marks-are-not-needed"),
        pytest.param("pods", "list", "advise", "FAILED", id="cannot-read"),
    ],
)
async def test_a_missing_verb_is_named(check, cluster, plural, verb, mode, mark) -> None:
    without(cluster, plural, verb)
    code, lines = await check(mode)
    (line,) = [line for line in lines if f"not allowed: {verb} {plural}" in line and "rbac" in line]
    assert line.startswith(mark)
    assert code == (1 if mark == "FAILED" else 0)


async def test_advice_asks_for_no_more_than_reading(check, cluster) -> None:
    config = WorkloadConfig.model_validate(WORKLOAD)
    cluster.granted = access_for(config, "pd-planner", "llm", act=False)[0]["rules"]
    code, lines = await check("advise")
    assert code == 0
    assert not any("not allowed" in line for line in lines)
    code, lines = await check("act")
    assert code == 1
    assert any("not allowed: patch deployments/scale" in line for line in lines)


@pytest.mark.parametrize(
    ("mode", "mark"), [pytest.param("act", "FAILED", id="act"), pytest.param("advise", "warning")]
)
async def test_another_writer_is_named(check, cluster, mode, mark) -> None:
    reference = {"kind": "Deployment", "name": "vllm-decode"}
    meta = {"namespace": "llm", "name": "mine"}
    cluster.put(HPAS, {"metadata": meta, "spec": {"scaleTargetRef": reference}})
    _, lines = await check(mode)
    (line,) = [line for line in lines if "HorizontalPodAutoscaler mine" in line]
    assert line.startswith(mark)
    assert "decode pool" in line


async def test_a_missing_target_is_not_ready(check, cluster) -> None:
    found = cluster.at(Deployment.resource, "vllm-decode")
    del cluster.objects[cluster.key(Deployment.resource, found["metadata"])]
    code, lines = await check()
    assert code == 1
    assert any(line.startswith("FAILED") and "was not found" in line for line in lines)
    assert lines[-1].startswith("not ready")


@pytest.mark.parametrize(
    ("grace_seconds", "container", "words"),
    [
        pytest.param(120, {"readinessProbe": {}}, "no startupProbe", id="no-startup-probe"),
        pytest.param(120, {"startupProbe": {}}, "no readinessProbe", id="no-readiness-probe"),
        pytest.param(30, PROBES, "must outlast the longest request", id="default-grace"),
    ],
)
async def test_a_template_that_loses_requests_is_a_warning(
    check, cluster, grace_seconds, container, words
) -> None:
    cluster.put(PODS, pod(Role.DECODE, grace_seconds=grace_seconds, **container))
    code, lines = await check()
    (line,) = [line for line in lines if words in line and line.startswith("warning")]
    assert "decode" in line
    assert code == 0


async def test_an_unreachable_server_is_not_ready(check, cluster, unused_tcp_port) -> None:
    cluster.url = f"http://127.0.0.1:{unused_tcp_port}"
    code, lines = await check()
    assert code == 1
    assert any(line.startswith("FAILED   API server") for line in lines)


@pytest.mark.parametrize(("name", "mark"), [("frontend", "ok"), ("gone", "FAILED")])
async def test_the_front_end_is_checked_as_well(check, cluster, name, mark) -> None:
    meta, labels = {"namespace": "llm", "name": "frontend"}, {"app": "frontend"}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}}
    cluster.put(Deployment.resource, {"metadata": meta, "spec": spec, "status": {}})
    router = f"  router: {{kind: Deployment, name: {name}}}\n"
    size = "policy: {router: {requests_per_second_per_replica: 100}}\n"
    _, lines = await check(more=router + size)
    (line,) = [line for line in lines if "router pool" in line]
    assert line.startswith(mark)


async def test_what_a_start_waits_for_is_told(cluster, check) -> None:
    sets = LeaderWorkerSet.resource
    cluster.serve(sets, scale=True)
    meta = {"namespace": "llm", "name": "router"}
    cluster.put(sets, {"metadata": meta, "spec": {"startupPolicy": "LeaderReady"}, "status": {}})
    cluster.granted = None
    router = "  router: {kind: LeaderWorkerSet, name: router}\n"
    size = "policy: {router: {requests_per_second_per_replica: 100}}\n"
    _, lines = await check(more=router + size)
    assert any("router pool: a replica starts after its own leader" in line for line in lines)
