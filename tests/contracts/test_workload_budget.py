"""How many GPUs the cluster grants, over HTTP, and what it grants when it cannot be asked."""

from __future__ import annotations

import math

import pytest

from planner.allowance import Allowance
from planner.budget import (
    NODES,
    QUEUES,
    QUOTAS,
    BudgetConfig,
    GpuBudget,
    node_headroom,
    queue_headroom,
    quota_headroom,
)
from planner.kube import PODS
from planner.workloads.config import WorkloadConfig
from planner.workloads.permissions import access_for
from policies.types import PerRole, PoolState, Unavailable


def queue(name: str, *, parent: str | None = None, limit=-1, quota=-1, used=0, fixed=0) -> dict:
    return {
        "metadata": {"name": name},
        "spec": {"parentQueue": parent, "resources": {"gpu": {"limit": limit, "quota": quota}}},
        "status": {
            "allocated": {"nvidia.com/gpu": used},
            "allocatedNonPreemptible": {"nvidia.com/gpu": str(fixed)},
        },
    }


@pytest.mark.parametrize(
    ("chain", "preemptible", "gpus"),
    [
        pytest.param([queue("a", limit=16, used=6)], True, 10, id="limit"),
        pytest.param([queue("a", limit=16, used=6)], False, 10, id="quota-unlimited"),
        pytest.param([queue("a", quota=8, fixed=6)], False, 2, id="quota"),
        pytest.param([queue("a", quota=8, fixed=6)], True, math.inf, id="over-quota"),
        pytest.param([queue("a", limit=0)], True, 0, id="zero-is-none"),
        pytest.param([queue("a", limit=None)], True, 0, id="unset-is-none"),
        pytest.param(
            [queue("a", limit=64), queue("root", limit=20, used=16)], True, 4, id="ancestor"
        ),
    ],
)
def test_a_queue_grants_the_least_of_its_chain(chain, preemptible, gpus):
    assert queue_headroom(chain, preemptible=preemptible).gpus == gpus


@pytest.mark.parametrize(
    ("hard", "used", "gpus"),
    [
        pytest.param({"requests.nvidia.com/gpu": "8"}, {"requests.nvidia.com/gpu": "3"}, 5, id="8"),
        pytest.param({"requests.cpu": "8"}, {}, math.inf, id="not-about-gpus"),
        pytest.param({"requests.nvidia.com/gpu": "8"}, {}, 8, id="unused"),
    ],
)
def test_a_quota_grants_what_is_not_used(hard, used, gpus):
    quota = {"metadata": {"name": "q"}, "status": {"hard": hard, "used": used}}
    assert quota_headroom([quota]).gpus == gpus


def node(name: str, gpus: int, rack: str, **spec: bool) -> dict:
    return {
        "metadata": {"name": name, "labels": {"rack": rack}},
        "spec": spec,
        "status": {"allocatable": {"nvidia.com/gpu": str(gpus)}},
    }


def pod(on: str, gpus: int, phase: str = "Running") -> dict:
    container = {"resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    meta = {"namespace": "other", "name": f"{on}-{gpus}-{phase}"}
    spec = {"nodeName": on, "containers": [container]}
    return {"metadata": meta, "spec": spec, "status": {"phase": phase}}


NODES_OF_TWO_RACKS = [node("a", 8, "1"), node("b", 8, "1"), node("c", 8, "2")]


@pytest.mark.parametrize(
    ("pods", "gang", "label", "gpus"),
    [
        pytest.param([], 4, None, 24, id="all-free"),
        pytest.param([pod("a", 5), pod("c", 1)], 4, None, 12, id="no-partial-gang"),
        pytest.param([pod("a", 5, "Failed")], 4, None, 24, id="finished-pods-hold-nothing"),
        pytest.param([], 16, None, 0, id="larger-than-any-node"),
        pytest.param([], 16, "rack", 16, id="fits-in-one-rack"),
        pytest.param([pod("a", 1)], 16, "rack", 0, id="in-no-rack"),
        pytest.param([], 4, "zone", 0, id="nodes-without-the-label-do-not-count"),
    ],
)
def test_free_gpus_count_only_as_whole_replicas(pods, gang, label, gpus):
    assert node_headroom(NODES_OF_TWO_RACKS, pods, gang, label).gpus == gpus


def test_a_cordoned_node_is_not_free():
    assert node_headroom([node("a", 8, "1", unschedulable=True)], [], 4, None).gpus == 0


async def test_the_tightest_source_caps_both_roles_together(api_server):
    server, kube = api_server
    server.put(QUEUES, queue("team", parent="root", limit=32, quota=32, used=20, fixed=20))
    server.put(QUEUES, queue("root", limit=26, quota=26, used=20, fixed=20))
    hard = {"hard": {"requests.nvidia.com/gpu": "40"}, "used": {"requests.nvidia.com/gpu": "20"}}
    server.put(QUOTAS, {"metadata": {"namespace": "llm", "name": "q"}, "status": hard})
    for each in NODES_OF_TWO_RACKS:
        server.put(NODES, each)
    server.put(PODS, pod("a", 8))
    config = BudgetConfig(resource_quota=True, kai_queue="team", free_nodes=True)
    cap = await GpuBudget(kube, config, "llm").read(held_gpus=20, gang_gpus=4)
    assert cap.gpus == 26
    assert cap.source == "KAI queue root: limit"


async def test_an_unreadable_source_grants_nothing_new(api_server):
    _, kube = api_server
    budget = GpuBudget(kube, BudgetConfig(kai_queue="missing"), "llm")
    cap = await budget.read(held_gpus=12, gang_gpus=4)
    assert cap.gpus == 12
    assert "cannot be read" in cap.source


async def test_nothing_configured_is_no_limit(api_server):
    _, kube = api_server
    cap = await GpuBudget(kube, BudgetConfig(), "llm").read(held_gpus=12, gang_gpus=4)
    assert cap.gpus is None


POOLS = PerRole(2, 3).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))


def allowance(kube, deadline_seconds: float = 5.0) -> Allowance:
    budget = GpuBudget(kube, BudgetConfig(kai_queue="team"), "llm")
    return Allowance(budget, PerRole(2, 4), every_seconds=30.0, deadline_seconds=deadline_seconds)


async def test_it_is_read_as_seldom_as_configured_and_stays_a_total(api_server):
    server, kube = api_server
    server.put(QUEUES, queue("team", limit=20, quota=20, used=16, fixed=16))
    reader = allowance(kube)
    assert (await reader.read(POOLS, 0.0)).gpus == 20
    smaller = POOLS.map(lambda _: PoolState(desired_replicas=1, ready_replicas=1))
    assert (await reader.read(smaller, 29.0)).gpus == 20
    assert len(server.log) == 1
    await reader.read(POOLS, 31.0)
    assert len(server.log) == 2


async def test_gpus_that_the_cluster_reports_count_before_the_profile_s(api_server):
    server, kube = api_server
    server.put(QUEUES, queue("team", limit=20, quota=20, used=20, fixed=20))
    known = POOLS.map(lambda _: PoolState(desired_replicas=2, ready_replicas=2, gpus_per_replica=8))
    assert (await allowance(kube).read(known, 0.0)).gpus == 32


async def test_a_source_that_never_answers_grants_nothing_new_and_is_asked_again(api_server):
    server, kube = api_server
    server.put(QUEUES, queue("team", limit=40, quota=40, used=16, fixed=16))
    server.hang = "GET .*queues"
    reader = allowance(kube, deadline_seconds=0.5)
    cap = await reader.read(POOLS, 0.0)
    assert cap.gpus == 16
    assert "could not be read" in cap.source
    server.hang = None
    assert (await reader.read(POOLS, 10.0)).gpus == 40


async def test_an_amount_that_is_no_number_grants_nothing_new(api_server):
    server, kube = api_server
    server.put(QUEUES, queue("team", limit="many", used=16))
    assert (await allowance(kube).read(POOLS, 0.0)).gpus == 16


async def test_nothing_is_asked_while_a_pool_is_unknown(api_server):
    server, kube = api_server
    assert await allowance(kube).read(PerRole(POOLS.prefill, Unavailable("403")), 0.0) is None
    assert server.log == []


async def test_the_printed_roles_are_enough_for_every_source(api_server):
    server, kube = api_server
    budget = BudgetConfig(resource_quota=True, kai_queue="team", free_nodes=True)
    config = WorkloadConfig.model_validate(
        {
            "namespace": "llm",
            "prefill": {"kind": "Deployment", "name": "p"},
            "decode": {"kind": "Deployment", "name": "d"},
            "budget": budget.model_dump(),
        }
    )
    documents = access_for(config, "pd-planner", "system")
    kinds = [document["kind"] for document in documents]
    assert kinds == ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"]
    server.put(QUEUES, queue("team"))
    server.put(NODES, NODES_OF_TWO_RACKS[0])
    server.put(QUOTAS, {"metadata": {"namespace": "llm", "name": "q"}, "status": {}})
    server.granted = [rule for document in documents for rule in document.get("rules", [])]
    cap = await GpuBudget(kube, budget, "llm").read(held_gpus=8, gang_gpus=4)
    assert cap.gpus == 16
