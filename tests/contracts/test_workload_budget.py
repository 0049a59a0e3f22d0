"""How many GPUs the cluster grants, over HTTP, and what it grants when it cannot be asked."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from planner.allowance import Allowance
from planner.budget import (
    NODES,
    QUEUES,
    QUOTAS,
    TOPOLOGIES,
    BudgetConfig,
    Claim,
    GpuBudget,
    node_headroom,
    queue_headroom,
    quota_headroom,
)
from planner.kube import PODS
from planner.placement import Gang, Node, Within, room
from planner.topology import Topology, free_nodes, gpus_waiting
from planner.workloads.config import WorkloadConfig
from planner.workloads.permissions import access_for
from policies.types import PerRole, PoolState, Role, Unavailable


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


FLAT = Topology()


def headroom(nodes, pods, gang: Gang, topology: Topology = FLAT, home=()):
    """Both roles with replicas of the same size."""
    held = Claim(replicas=PerRole(1, 1), gangs=PerRole(gang, gang), nodes=frozenset(home))
    levels = topology.levels
    within = topology.within(levels)
    free = free_nodes(nodes, pods, levels[: max(within.replica, within.pair)])
    return node_headroom(free, held, within, gpus_waiting(pods, "llm"), levels)


@pytest.mark.parametrize(
    ("pods", "gang", "rack", "gpus"),
    [
        pytest.param([], Gang(1, 4), None, 24, id="all-free"),
        pytest.param([pod("a", 5), pod("c", 1)], Gang(1, 4), None, 12, id="no-partial-gang"),
        pytest.param([pod("a", 5, "Failed")], Gang(1, 4), None, 24, id="finished-hold-nothing"),
        pytest.param([], Gang(1, 16), None, 0, id="a-pod-larger-than-any-node"),
        pytest.param([], Gang(2, 8), None, 16, id="a-gang-over-nodes"),
        pytest.param([pod("b", 1)], Gang(2, 8), None, 16, id="over-nodes-of-two-racks"),
        pytest.param([], Gang(2, 8), "rack", 16, id="a-gang-in-one-rack"),
        pytest.param([pod("b", 1)], Gang(2, 8), "rack", 0, id="in-no-rack"),
        pytest.param([pod("a", 4), pod("b", 4)], Gang(1, 8), "rack", 8, id="two-halves-are-none"),
        pytest.param([], Gang(1, 4), "zone", 0, id="nodes-without-the-label-do-not-count"),
    ],
)
def test_free_gpus_count_only_as_whole_replicas(pods, gang, rack, gpus):
    topology = Topology(levels=(rack,) if rack else (), replica_within=rack)
    assert headroom(NODES_OF_TWO_RACKS, pods, gang, topology).gpus == gpus


def test_a_cordoned_node_is_not_free():
    assert headroom([node("a", 8, "1", unschedulable=True)], [], Gang(1, 4)).gpus == 0


@pytest.mark.parametrize("status", ["False", "Unknown"])
def test_a_node_that_is_down_is_not_free(status):
    down = node("a", 8, "1") | {"status": {"conditions": [{"type": "Ready", "status": status}]}}
    down["status"]["allocatable"] = node("a", 8, "1")["status"]["allocatable"]
    assert headroom([down], [], Gang(1, 4)).gpus == 0


def in_block(name: str, gpus: int, block: str, rack: str) -> dict:
    found = node(name, gpus, rack)
    found["metadata"]["labels"]["block"] = block
    return found


# Racks are numbered within their block: rack 1 of block x is not rack 1 of block y.
NESTED = [
    in_block("x1", 8, "x", "1"),
    in_block("x2", 8, "x", "2"),
    in_block("y1", 8, "y", "1"),
    in_block("y1b", 8, "y", "1"),
    in_block("y2", 8, "y", "2"),
]
LEVELS = ("block", "rack")


@pytest.mark.parametrize(
    ("gang", "pair", "home", "gpus"),
    [
        pytest.param(Gang(2, 8), None, (), 16, id="only-y1-holds-a-gang"),
        pytest.param(Gang(1, 8), None, (), 40, id="anywhere"),
        pytest.param(Gang(1, 8), "block", (), 24, id="the-roomier-block"),
        pytest.param(Gang(1, 8), "block", ("x1",), 16, id="the-block-that-it-lives-in"),
        pytest.param(Gang(2, 8), "block", ("x1",), 0, id="no-gang-fits-beside-it"),
        pytest.param(Gang(2, 8), "block", ("y2",), 16, id="one-fits-beside-it"),
    ],
)
def test_nested_levels_hold_for_replicas_and_for_the_pair(gang, pair, home, gpus):
    topology = Topology(levels=LEVELS, replica_within="rack", pair_within=pair)
    assert headroom(NESTED, [], gang, topology, home).gpus == gpus


def test_when_no_domain_fits_it_says_which_replica_where_and_what_is_free():
    topology = Topology(levels=LEVELS, replica_within="rack", pair_within="block")
    found = headroom(NESTED, [pod("x1", 3), pod("x2", 2)], Gang(2, 8), topology, ("x1",))
    assert found.shortage == (
        "no further prefill replica (2 pods of 8 GPUs) and no decode replica (2 pods of 8 GPUs) "
        "fits within one rack in block x: the freest node there has 6 GPUs free"
    )


def test_one_role_may_fit_where_the_other_does_not():
    claim = Claim(replicas=PerRole(1, 2), gangs=PerRole(Gang(2, 8), Gang(1, 2)))
    found = node_headroom(free_nodes(NESTED[:2], [], LEVELS), claim, Within(replica=2), 0, LEVELS)
    assert found.replicas == PerRole(0, 8)
    assert found.gpus == 16
    assert "no further prefill replica" in found.shortage
    assert "decode" not in found.shortage


def test_pods_that_wait_for_a_node_come_first():
    waiting = pod("a", 4, "Pending")
    waiting["metadata"]["namespace"] = "llm"
    del waiting["spec"]["nodeName"]
    assert headroom(NODES_OF_TWO_RACKS, [waiting], Gang(1, 4)).gpus == 20
    waiting["metadata"]["namespace"] = "another"
    assert headroom(NODES_OF_TWO_RACKS, [waiting], Gang(1, 4)).gpus == 24


GANGS = st.builds(Gang, st.integers(1, 4), st.integers(1, 8))
FREE = st.lists(st.tuples(st.integers(0, 16), st.sampled_from("xy"), st.sampled_from("12")))


@given(FREE, GANGS, GANGS, st.integers(0, 2), st.integers(0, 2))
def test_no_room_is_promised_that_is_not_there(free, prefill, decode, replica, pair):
    nodes = [Node(str(n), gpus, (block, rack)) for n, (gpus, block, rack) in enumerate(free)]
    within = Within(replica, min(pair, replica))
    found = room(nodes, PerRole(prefill, decode), within, frozenset())
    assert found.gpus <= sum(node.free_gpus for node in nodes)
    for role, gang in ((Role.PREFILL, prefill), (Role.DECODE, decode)):
        assert found.replicas[role] * gang.gpus <= found.gpus
    # One node more, or one level less to share, never leaves less room.
    wider = room(nodes, PerRole(prefill, decode), Within(0, within.pair), frozenset())
    assert all(more >= less for more, less in zip(wider.replicas, found.replicas, strict=True))


@pytest.mark.parametrize(
    ("topology", "words"),
    [
        pytest.param({"levels": ["zone"], "replica_within": "rack"}, "not among", id="unknown"),
        pytest.param({"levels": ["zone"], "kai_topology": "t"}, "not both", id="two-sources"),
    ],
)
def test_a_topology_that_cannot_be_is_explained(topology, words):
    with pytest.raises(ValidationError, match=words):
        Topology.model_validate(topology)


async def test_levels_come_from_a_kai_topology(api_server):
    server, kube = api_server
    levels = [{"nodeLabel": "block"}, {"nodeLabel": "rack"}]
    server.put(TOPOLOGIES, {"metadata": {"name": "t"}, "spec": {"levels": levels}})
    for each in NESTED:
        server.put(NODES, each)
    topology = {"kai_topology": "t", "replica_within": "rack"}
    config = BudgetConfig.model_validate({"free_nodes": True, "topology": topology})
    cap = await GpuBudget(kube, config, "llm").read(claim(0, Gang(2, 8)))
    assert (cap.gpus, cap.replicas) == (16, PerRole(1, 1))
    topology["replica_within"] = "zone"
    config = BudgetConfig.model_validate({"free_nodes": True, "topology": topology})
    cap = await GpuBudget(kube, config, "llm").read(claim(0, Gang(2, 8)))
    assert cap.gpus == 0
    assert "zone is not among the levels: block, rack" in cap.source


def claim(held_replicas: int, gang: Gang) -> Claim:
    return Claim(replicas=PerRole(0, held_replicas), gangs=PerRole(gang, gang))


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
    cap = await GpuBudget(kube, config, "llm").read(claim(5, Gang(1, 4)))
    assert cap.gpus == 26
    assert cap.source == "KAI queue root: limit"


async def test_an_unreadable_source_grants_nothing_new(api_server):
    _, kube = api_server
    budget = GpuBudget(kube, BudgetConfig(kai_queue="missing"), "llm")
    cap = await budget.read(claim(3, Gang(1, 4)))
    assert cap.gpus == 12
    assert "cannot be read" in cap.source


async def test_nothing_configured_is_no_limit(api_server):
    _, kube = api_server
    cap = await GpuBudget(kube, BudgetConfig(), "llm").read(claim(3, Gang(1, 4)))
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


async def test_it_is_read_anew_when_the_clock_was_set_back(api_server):
    server, kube = api_server
    server.put(QUEUES, queue("team", limit=20, quota=20, used=16, fixed=16))
    reader = allowance(kube)
    await reader.read(POOLS, 3600.0)
    await reader.read(POOLS, 0.0)
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
    topology = Topology(kai_topology="t")
    budget = BudgetConfig(resource_quota=True, kai_queue="team", free_nodes=True, topology=topology)
    server.put(TOPOLOGIES, {"metadata": {"name": "t"}, "spec": {"levels": []}})
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
    cap = await GpuBudget(kube, budget, "llm").read(claim(2, Gang(1, 4)))
    assert cap.gpus == 16
