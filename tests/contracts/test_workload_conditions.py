"""What objects say of themselves: trouble, floors, and the order of a start."""

from __future__ import annotations

import copy

import pytest
from workload_scene import START
from workload_scenes import SCENES

from planner.kube import Json
from planner.workloads.config import WorkloadConfig
from planner.workloads.kind import Reading
from policies.types import PerRole, Role, Unavailable


def read(name: str, change, role: Role = Role.DECODE) -> Reading:
    """The decode pool of a scene whose object was changed, without a server."""
    scene = copy.deepcopy(SCENES[name])
    config = WorkloadConfig.model_validate({"namespace": "llm", **scene.pools})
    kind = config.roles[role]
    found = next(found for _, found in scene.objects if found["metadata"]["name"] == kind.name)
    change(found)
    return kind.reading(found, kind.target("llm"))


def _named(items: list[Json], name: str) -> Json:
    return next(item for item in items if item["name"] == name)


@pytest.mark.parametrize(
    ("bare", "decode"),
    [
        pytest.param(("double", name), find, id=name)
        for name, find in {
            "dynamo-v1beta1": lambda spec: _named(spec["components"], "Decode"),
            "dynamo-v1alpha1": lambda spec: spec["services"]["Decode"],
            "stormservice-pool": lambda spec: _named(spec["template"]["spec"]["roles"], "decode"),
            "disaggregatedset-static": lambda spec: _named(spec["roles"], "decode")["spec"],
        }.items()
    ],
    indirect=["bare"],
)
async def test_a_count_that_the_object_leaves_out_is_unknown_and_not_0(stage, decode) -> None:
    """What an operator makes of it is its own affair: 1, nothing, or what there was before."""
    resource, main = stage.scene.objects[0]
    await stage.change(
        lambda server: decode(server.at(resource, main["metadata"]["name"])["spec"]).pop("replicas")
    )
    pools = await stage.read()
    assert isinstance(pools.decode, Unavailable)
    assert "sets no replicas at .spec." in pools.decode.why
    assert "so how many are wanted is unknown; set the number" in pools.decode.why
    failures = await stage.workload.scale(PerRole(4, 7))
    assert Role.DECODE in {failure.role for failure in failures}
    assert not any("decode" in str(body).lower() for _, body in stage.server.writes())


def condition(kind: str, status: str, reason: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": f"{kind} said so"}


@pytest.mark.parametrize(
    ("name", "kind", "status", "reason", "told"),
    [
        pytest.param("deployment", "ReplicaFailure", "True", "", True, id="quota"),
        pytest.param("deployment", "Progressing", "False", "", True, id="no-progress"),
        pytest.param("deployment", "Progressing", "True", "", False, id="progress"),
        pytest.param("podclique", "MinAvailableBreached", "True", "", True, id="breached"),
        pytest.param("podclique", "MinAvailableBreached", "Unknown", "", False, id="not-known"),
        pytest.param(
            "podcliquescalinggroup", "TopologyLevelsUnavailable", "True", "", True, id="no-levels"
        ),
        pytest.param(
            "podcliquescalinggroup", "GangTerminationInProgress", "True", "", True, id="terminating"
        ),
        pytest.param(
            "dynamo-v1beta1", "Ready", "False", "insufficient_capacity", True, id="no-capacity"
        ),
        pytest.param(
            "dynamo-v1beta1", "Ready", "False", "pods_not_ready", False, id="starting-is-no-trouble"
        ),
        pytest.param("dynamo-v1beta1", "TopologyLevelsAvailable", "False", "", True, id="levels"),
        pytest.param("stormservice-pool", "ReplicaFailure", "True", "", True, id="storm-failure"),
    ],
)
def test_conditions_that_waiting_does_not_mend_are_told(name, kind, status, reason, told) -> None:
    def change(found: Json) -> None:
        found["status"].setdefault("conditions", []).append(condition(kind, status, reason))

    expected = (f"{kind} is {status}: {kind} said so",) if told else ()
    assert read(name, change).problems == expected


@pytest.mark.parametrize(
    ("updated", "told"),
    [
        pytest.param(1, ("it is paused in a rollout: resume it, else nothing is scaled in",)),
        pytest.param(START[Role.DECODE], (), id="a-pause-alone-does-not-stop-scaling"),
    ],
)
def test_a_rollout_that_waits_for_somebody_is_told(updated, told) -> None:
    def change(found: Json) -> None:
        found["spec"]["paused"] = True
        found["status"]["updatedReplicas"] = updated

    assert read("deployment", change).problems == told


@pytest.mark.parametrize(
    ("name", "change", "after"),
    [
        pytest.param("leaderworkerset", {"startupPolicy": "LeaderCreated"}, (), id="at-once"),
        pytest.param(
            "leaderworkerset", {"startupPolicy": "LeaderReady"}, ("its own leader",), id="leader"
        ),
        pytest.param("podclique", {"startsAfter": ["m-prefill"]}, ("m-prefill",), id="grove"),
    ],
)
def test_the_order_of_a_start_is_known(name, change, after) -> None:
    assert read(name, lambda found: found["spec"].update(change)).starts_after == after


def test_a_role_that_depends_on_another_starts_after_it() -> None:
    def change(found: Json) -> None:
        found["spec"]["roles"][1]["dependencies"] = ["prefill"]

    assert read("rolebasedgroup", change).starts_after == ("prefill",)


@pytest.mark.parametrize(
    ("spec", "floor"),
    [
        pytest.param({"minAvailable": 2}, 2, id="as-it-says"),
        pytest.param({"minAvailable": None}, START[Role.DECODE], id="its-size-is-the-minimum"),
    ],
)
def test_a_pod_clique_keeps_what_grove_would_end_the_whole_set_for(spec, floor) -> None:
    assert read("podclique", lambda found: found["spec"].update(spec)).floor == floor


def test_a_scaling_group_keeps_one_unless_it_says_more() -> None:
    assert read("podcliquescalinggroup", lambda found: found["spec"].pop("minAvailable")).floor == 1


def test_a_graph_on_deployments_goes_by_deletion_cost_and_one_on_grove_does_not() -> None:
    def made_of(kind: str):
        return lambda found: found["status"]["components"]["Decode"].update(componentKind=kind)

    assert read("dynamo-v1beta1", made_of("Deployment")).by_deletion_cost
    assert not read("dynamo-v1beta1", made_of("PodClique")).by_deletion_cost
