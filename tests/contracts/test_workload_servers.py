"""The double answers as a real server does, and the real one takes what the planner sends."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from conftest import stages_of
from workload_scene import pods_of
from workload_stages import NOW

from planner.journal import Record
from planner.kube import PODS, KubeError, Resource, Target
from planner.workloads.config import make_router
from planner.workloads.deletion import COST
from planner.workloads.deployment import Deployment
from planner.workloads.notices import ANNOTATION, EVENTS, Notices
from planner.workloads.readiness import cluster_checks
from policies.types import Decision, Hold, HoldReason, Observation, PerRole, PoolState

GROUPS = Resource("workloads.x-k8s.io", "v1alpha2", "rolebasedgroups")
OF_GROUPS = pytest.mark.parametrize("bare", stages_of("rolebasedgroup"), indirect=True)
OF_DEPLOYMENTS = pytest.mark.parametrize("bare", stages_of("deployment"), indirect=True)
SOMETHING = {"metadata": {"annotations": {"a": "b"}}}
WRONG_NAME = [
    {"op": "test", "path": "/spec/roles/0/name", "value": "router"},
    {"op": "add", "path": "/spec/roles/0/replicas", "value": 9},
]


def versioned(version: str) -> dict:
    return {"metadata": {"resourceVersion": version, "annotations": {"a": "b"}}}


@OF_GROUPS
@pytest.mark.parametrize(
    ("verb", "body", "subresource", "status"),
    [
        pytest.param("patch", WRONG_NAME, "", 422, id="a-json-patch-whose-test-fails"),
        pytest.param("patch", versioned("1"), "", 409, id="an-old-version"),
        pytest.param(
            "patch",
            [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"}],
            "",
            409,
            id="an-old-version-in-a-json-patch",
        ),
        pytest.param("patch", SOMETHING, "", None, id="no-version-is-any-version"),
        pytest.param("get", None, "scale", 404, id="a-scale-that-is-not-there"),
        pytest.param("get", None, "", None, id="get"),
    ],
)
async def test_what_a_server_answers(stage, verb, body, subresource, status) -> None:
    target = Target(GROUPS, stage.namespace, "m")
    expected = pytest.raises(KubeError) if status else nullcontext()
    with expected as caught:
        if verb == "get":
            await stage.admin.get(target, subresource)
        else:
            await stage.admin.patch(target, body, subresource)
    assert (caught.value.status if caught else None) == status


@OF_GROUPS
@pytest.mark.parametrize(
    ("resource", "name", "words"),
    [
        pytest.param(GROUPS, "another", "was not found", id="no-object"),
        pytest.param(
            Resource("workloads.x-k8s.io", "v9", "rolebasedgroups"),
            "m",
            "does not serve",
            id="no-api",
        ),
    ],
)
async def test_what_is_not_there_is_told_apart(stage, resource, name, words) -> None:
    with pytest.raises(KubeError, match=words) as caught:
        await stage.admin.get(Target(resource, stage.namespace, name))
    assert caught.value.status == 404


@OF_GROUPS
async def test_roles_that_changed_places_meanwhile_are_found_by_name(stage) -> None:
    await stage.read()
    await stage.change(lambda at: at.at(GROUPS, "m")["spec"]["roles"].reverse())
    assert await stage.workload.scale(PerRole(5, 6)) == ()
    assert await stage.counts() == PerRole(5, 6)


def record(decision: Decision) -> Record:
    return Record(
        observation=Observation(observed_at_seconds=NOW, window_seconds=60.0),
        pools=PerRole.of(lambda _: PoolState(desired_replicas=1, ready_replicas=1)),
        decision=decision,
        applied=decision.changes,
    )


@OF_DEPLOYMENTS
async def test_events_and_the_annotation_are_taken_under_the_role(stage) -> None:
    await stage.regrant(notices={"annotate": True})
    tell = Notices(stage.planner, stage.config)
    hold = Hold(HoldReason.METRICS_STALE, "61 s old")
    for decision in (
        Decision(decided_at_seconds=NOW, current=PerRole(2, 3), target=PerRole(2, 5)),
        Decision(decided_at_seconds=NOW, current=None, target=None, hold=hold),
        Decision(decided_at_seconds=NOW + 10, current=None, target=None, hold=hold),
    ):
        tell(record(decision))
        await tell.settle()
    found = await stage.admin.find(EVENTS, stage.namespace)
    told = sorted((event["involvedObject"]["name"], event["reason"]) for event in found)
    assert told == [
        ("m-decode", "HoldMetricsStale"),
        ("m-decode", "Scaled"),
        ("m-prefill", "HoldMetricsStale"),
    ]
    decode = stage.config.decode.target(stage.namespace)
    assert ANNOTATION in (await stage.admin.get(decode))["metadata"]["annotations"]


@OF_DEPLOYMENTS
async def test_the_pods_to_delete_are_marked_under_the_role(stage) -> None:
    await stage.pods(pods_of(stage.scene))
    await stage.read()
    assert await stage.workload.scale(PerRole(1, 1)) == ()
    pods = await stage.admin.find(PODS, stage.namespace)
    marked = [pod["metadata"]["labels"]["app"] for pod in pods if COST in str(pod["metadata"])]
    assert sorted(marked) == ["m-decode", "m-decode", "m-prefill"]


@OF_DEPLOYMENTS
async def test_the_check_finds_all_that_the_role_grants(stage) -> None:
    checks = await cluster_checks(
        stage.config,
        stage.planner,
        act=True,
        drain_seconds=PerRole(None, None),
        now_seconds=NOW,
    )
    (access,) = [check.text for check in checks if check.text.startswith("access")]
    assert access == "access: all 9 verbs that the planner uses"
    assert not [check for check in checks if "not allowed" in check.text]


@OF_DEPLOYMENTS
async def test_a_front_end_is_read_and_scaled_under_the_role(stage) -> None:
    labels = {"app": "m-frontend"}
    container = {"name": "main", "image": "none"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    front_end = {
        "metadata": {"namespace": stage.namespace, "name": "m-frontend"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }
    await stage.admin.create(Deployment.resource, stage.namespace, front_end)
    await stage.regrant(router={"kind": "Deployment", "name": "m-frontend"})
    pool = make_router(stage.config, stage.planner)
    assert (await pool.read(NOW)).desired_replicas == 2
    assert await pool.scale(6) is None
    target = Target(Deployment.resource, stage.namespace, "m-frontend")
    assert (await stage.admin.get(target))["spec"]["replicas"] == 6
