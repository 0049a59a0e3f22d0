"""What is found can be configured: discovery against the same server double, by command line."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

from planner.__main__ import main
from planner.kube import Resource
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.discovery import discover
from planner.workloads.leaderworkerset import LeaderWorkerSet
from policies.types import PerRole, PoolState, Role

DOCUMENT = Path(__file__).parents[2] / "docs" / "workloads.md"

DEPLOYMENTS = Resource("apps", "v1", "deployments")
GRAPHS = Resource("nvidia.com", "v1beta1", "dynamographdeployments")


def deployment(name: str, *, labels: dict | None = None, owner: str | None = None) -> dict:
    owners = [{"kind": owner, "name": "o", "controller": True}] if owner else []
    return {
        "metadata": {"namespace": "llm", "name": name, "ownerReferences": owners},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels or {}}},
        },
        "status": {},
    }


@pytest.mark.parametrize(
    ("objects", "names"),
    [
        pytest.param(
            [deployment("vllm-prefill"), deployment("vllm-decode"), deployment("web")],
            {"prefill": "vllm-prefill", "decode": "vllm-decode"},
            id="by-name",
        ),
        pytest.param(
            [
                deployment("m-p", labels={"llm-d.ai/role": "prefill"}),
                deployment("m-p2"),
                deployment("m-decode"),
            ],
            None,
            id="labels-of-another-stem-make-no-pair",
        ),
        pytest.param(
            [deployment("a-prefill", owner="DynamoComponent"), deployment("a-decode")],
            None,
            id="owned-by-a-controller",
        ),
        pytest.param([deployment("prefilled"), deployment("decoder")], None, id="other-words"),
    ],
)
async def test_deployments_pair_by_name_and_label(api_server, objects, names):
    server, kube = api_server
    for each in objects:
        server.put(DEPLOYMENTS, each)
    found = await discover(kube, "llm")
    assert [{str(role): pool["name"] for role, pool in each.pools.items()} for each in found] == (
        [names] if names else []
    )


@pytest.mark.parametrize(
    ("objects", "router"),
    [
        pytest.param(["m-prefill", "m-decode", "m-router"], "m-router", id="beside-the-pair"),
        pytest.param(["prefill", "decode", "frontend"], "frontend", id="without-a-stem"),
        pytest.param(["m-prefill", "m-decode", "other-router"], None, id="of-another-pair"),
    ],
)
async def test_a_front_end_is_found_by_its_name(api_server, objects, router):
    server, kube = api_server
    for name in objects:
        server.put(DEPLOYMENTS, deployment(name))
    (found,) = await discover(kube, "llm")
    assert (found.router or {}).get("name") == router


async def test_in_a_pod_clique_set_the_live_objects_are_found_and_members_are_not(api_server):
    """Prefill is a scaling group, whose cliques are its own; decode a clique that stands alone."""
    server, kube = api_server
    for plural, name, owner in (
        ("podcliquescalinggroups", "m-0-prefill", "PodCliqueSet"),
        ("podcliquescalinggroups", "m-0-decode", "PodCliqueSet"),
        ("podcliques", "m-0-prefill-0-leader-prefill", "PodCliqueScalingGroup"),
        ("podcliques", "m-0-prefill-0-leader-decode", "PodCliqueScalingGroup"),
        ("podcliques", "n-0-prefill", "PodCliqueSet"),
        ("podcliques", "n-0-decode", "PodCliqueSet"),
        ("podcliques", "n-0-router", "PodCliqueSet"),
    ):
        found = deployment(name, owner=owner)
        server.put(Resource("grove.io", "v1alpha1", plural), found)
    found = await discover(kube, "llm")
    assert [each.pools.map(lambda pool: (pool["kind"], pool["name"])) for each in found] == [
        PerRole(("PodCliqueScalingGroup", "m-0-prefill"), ("PodCliqueScalingGroup", "m-0-decode")),
        PerRole(("PodClique", "n-0-prefill"), ("PodClique", "n-0-decode")),
    ]
    assert [each.router and each.router["name"] for each in found] == [None, "n-0-router"]


def put_llama_and_qwen(server) -> None:
    """What the document's example shows: a graph with a front end, and two LeaderWorkerSets."""
    components = [
        {"name": "Frontend", "type": "frontend", "replicas": 1},
        {"name": "VllmPrefillWorker", "type": "prefill", "replicas": 2},
        {"name": "VllmDecodeWorker", "type": "decode", "replicas": 3},
    ]
    meta = {"namespace": "llm", "name": "llama"}
    server.put(GRAPHS, {"metadata": meta, "spec": {"components": components}, "status": {}})
    for role in Role:
        meta = {"namespace": "llm", "name": f"qwen-{role}"}
        server.put(LeaderWorkerSet.resource, {"metadata": meta, "spec": {}, "status": {}})


def documented(command: str) -> str:
    """What docs/workloads.md shows as the output of a command."""
    block = DOCUMENT.read_text().split(f"    $ {command}\n", 1)[1].split("\n\n", 1)[0]
    return textwrap.dedent(block) + "\n"


async def test_the_document_shows_what_discover_prints(api_server, capsys):
    server, _ = api_server
    put_llama_and_qwen(server)
    command = ["discover", "-n", "llm", "--api-server", server.url]
    assert await asyncio.to_thread(main, command) == 0
    assert capsys.readouterr().out == documented("planner discover -n llm")


async def test_the_document_shows_what_rbac_prints(tmp_path, capsys):
    section, _, _ = documented("planner discover -n llm").partition("# qwen")
    file = tmp_path / "planner.yaml"
    file.write_text(f"mode: act\n{section}")
    assert main(["rbac", "-c", str(file)]) == 0
    assert capsys.readouterr().out == documented("planner rbac -c planner.yaml")


async def test_the_printed_configuration_reads_the_workload(api_server):
    server, kube = api_server
    put_llama_and_qwen(server)
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "planner", "discover", "-n", "llm"),
        *("--api-server", server.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await done.communicate()
    assert done.returncode == 0, errors.decode()
    config = WorkloadConfig.model_validate(yaml.safe_load(out)["workload"])
    pools = await make_workload(config, kube).read(0.0)
    assert all(isinstance(pool, PoolState) for pool in pools)
    assert pools.map(lambda pool: pool.desired_replicas).decode == 3


async def test_nothing_found_says_what_would_be(api_server):
    server, _ = api_server
    done = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "planner", "discover", "-n", "llm"),
        *("--api-server", server.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    _, errors = await done.communicate()
    assert done.returncode == 2
    assert b"no pair that is recognised" in errors
    assert b"Traceback" not in errors
