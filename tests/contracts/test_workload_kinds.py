"""Every kind of workload, with its real shape, does what a workload must."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from planner.kube import Json, Resource
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.permissions import access_for
from policies.types import PerRole, PoolState, Role, Unavailable

NOW = 1_700_000_000.0
GPU_POD = {"containers": [{"name": "main", "resources": {"limits": {"nvidia.com/gpu": "4"}}}]}
START = {Role.PREFILL: 2, Role.DECODE: 3}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Both pools in one kind: what is configured, what exists, and what must come of it.

    `counts` reads the number that the kind's controller obeys; `writes` are the paths that a
    change of both roles patches, without the namespace's prefix.
    """

    pools: dict[str, Json]
    objects: list[tuple[Resource, Json]]
    scalable: tuple[str, ...] = ()
    counts: Callable[[Any, Role], int]
    writes: tuple[str, ...]
    gpus: int | None
    floor: int = 1
    rolling: Callable[[Any], None]
    adapters: dict[str, tuple[Resource, str, Callable[[Json, str, int], None]]] = field(
        default_factory=dict
    )


def _each(kind: str, prefix: str) -> dict[str, Json]:
    return {role: {"kind": kind, "name": f"{prefix}-{role}"} for role in Role}


def _own(resource: Resource) -> Callable[[Any, Role], int]:
    return lambda server, role: server.at(resource, f"m-{role}")["spec"]["replicas"]


def _meta(name: str) -> Json:
    return {"namespace": "llm", "name": name}


def _status(role: Role) -> Json:
    n = START[role]
    return {"replicas": n, "readyReplicas": n, "updatedReplicas": n}


def _role_statuses() -> list[Json]:
    return [{"name": str(role), **_status(role)} for role in Role]


APPS = {
    "Deployment": Resource("apps", "v1", "deployments"),
    "StatefulSet": Resource("apps", "v1", "statefulsets"),
}


def apps(kind: str) -> Scene:
    resource = APPS[kind]

    def roll(server) -> None:
        found = server.at(resource, "m-decode")
        if kind == "Deployment":
            found["status"]["replicas"] = 4
        else:
            found["status"] |= {"currentRevision": "a", "updateRevision": "b"}

    spec = {"template": {"spec": GPU_POD}}
    return Scene(
        pools=_each(kind, "m"),
        objects=[
            (
                resource,
                {
                    "metadata": _meta(f"m-{role}"),
                    "spec": {
                        "replicas": n,
                        "selector": {"matchLabels": {"app": f"m-{role}"}},
                        **spec,
                    },
                    "status": _status(role),
                },
            )
            for role, n in START.items()
        ],
        scalable=(resource.plural,),
        counts=_own(resource),
        writes=(f"{resource.plural}/m-decode/scale", f"{resource.plural}/m-prefill/scale"),
        gpus=4,
        rolling=roll,
    )


def leader_worker_set() -> Scene:
    resource = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets")

    def roll(server) -> None:
        condition = {"type": "UpdateInProgress", "status": "True"}
        server.at(resource, "m-decode")["status"]["conditions"] = [condition]

    template = {"size": 2, "workerTemplate": {"spec": GPU_POD}}
    return Scene(
        pools=_each("LeaderWorkerSet", "m"),
        objects=[
            (
                resource,
                {
                    "metadata": _meta(f"m-{role}"),
                    "spec": {"replicas": n, "leaderWorkerTemplate": template},
                    "status": {**_status(role), "hpaPodSelector": "x=y"},
                },
            )
            for role, n in START.items()
        ],
        scalable=("leaderworkersets",),
        counts=_own(resource),
        writes=("leaderworkersets/m-decode/scale", "leaderworkersets/m-prefill/scale"),
        gpus=8,
        rolling=roll,
    )


def disaggregated_set(*, external: bool) -> Scene:
    group = "disaggregatedset.x-k8s.io"
    resource = Resource(group, "v1", "disaggregatedsets")
    scalers = Resource(group, "v1", "disaggregatedsetrolescalers")
    template = {"leaderWorkerTemplate": {"size": 1, "workerTemplate": {"spec": GPU_POD}}}
    roles = [
        {
            "name": str(role),
            "scaling": {"mode": "External" if external else "Static"},
            "spec": {"replicas": n, **template},
        }
        for role, n in START.items()
    ]
    main = {
        "metadata": _meta("m"),
        "spec": {"roles": roles},
        "status": {"roleStatuses": _role_statuses()},
    }
    objects = [(resource, main)]
    if external:
        objects += [
            (scalers, {"metadata": _meta(f"m-{role}"), "spec": {"replicas": n}, "status": {}})
            for role, n in START.items()
        ]

    def roll(server) -> None:
        server.at(resource, "m")["status"]["roleStatuses"][1]["updatedReplicas"] = 1

    def obeyed(server, role: Role) -> int:
        if external:
            return server.at(scalers, f"m-{role}")["spec"]["replicas"]
        items = server.at(resource, "m")["spec"]["roles"]
        return next(item["spec"]["replicas"] for item in items if item["name"] == role)

    once = ("disaggregatedsets/m",)
    each = tuple(f"disaggregatedsetrolescalers/m-{role}/scale" for role in ("decode", "prefill"))
    return Scene(
        pools={role: {"kind": "DisaggregatedSet", "name": "m", "role": str(role)} for role in Role},
        objects=objects,
        scalable=("disaggregatedsetrolescalers",),
        counts=obeyed,
        writes=each if external else once,
        gpus=4,
        rolling=roll,
    )


def grove(kind: str, plural: str, spec: Json, gpus: int | None, progress: str) -> Scene:
    resource = Resource("grove.io", "v1alpha1", plural)

    def roll(server) -> None:
        found = server.at(resource, "m-decode")
        found["status"][progress] = {"updateStartedAt": "2023-11-14T22:00:00Z"}

    return Scene(
        pools=_each(kind, "m"),
        objects=[
            (
                resource,
                {
                    "metadata": _meta(f"m-{role}"),
                    "spec": {"replicas": n, "minAvailable": 2, **spec},
                    "status": {**_status(role), "availableReplicas": n},
                },
            )
            for role, n in START.items()
        ],
        scalable=(plural,),
        counts=_own(resource),
        writes=(f"{plural}/m-decode/scale", f"{plural}/m-prefill/scale"),
        gpus=gpus,
        floor=2,
        rolling=roll,
    )


def dynamo(version: str, *, adapter: bool) -> Scene:
    resource = Resource("nvidia.com", version, "dynamographdeployments")
    adapters = Resource("nvidia.com", version, "dynamographdeploymentscalingadapters")
    components: Any
    if version == "v1beta1":
        components = [{"name": "Frontend", "type": "frontend", "replicas": 1}] + [
            {
                "name": role.title(),
                "type": str(role),
                "replicas": n,
                "multinode": {"nodeCount": 2},
                "podTemplate": {"spec": GPU_POD},
                **({"scalingAdapter": {}} if adapter else {}),
            }
            for role, n in START.items()
        ]
        spec = {"components": components}
    else:
        components = {
            role.title(): {
                "componentType": "worker",
                "subComponentType": str(role),
                "replicas": n,
                "multinode": {"nodeCount": 2},
                "resources": {"limits": {"gpu": "4"}},
                "scalingAdapter": {"enabled": adapter},
            }
            for role, n in START.items()
        }
        spec = {"services": components}
    status = {"components": {role.title(): _status(role) for role in Role}}
    objects = [(resource, {"metadata": _meta("m"), "spec": spec, "status": status})]
    if adapter:
        objects += [
            (adapters, {"metadata": _meta(f"m-{role}"), "spec": {"replicas": n}, "status": {}})
            for role, n in START.items()
        ]

    def obeyed(server, role: Role) -> int:
        if adapter:
            return server.at(adapters, f"m-{role}")["spec"]["replicas"]
        spec = server.at(resource, "m")["spec"]
        if version == "v1alpha1":
            return spec["services"][role.title()]["replicas"]
        return next(item["replicas"] for item in spec["components"] if item["name"] == role.title())

    def roll(server) -> None:
        server.at(resource, "m")["status"]["rollingUpdate"] = {"phase": "InProgress"}

    each = tuple(f"{adapters.plural}/m-{role}/scale" for role in ("decode", "prefill"))
    return Scene(
        pools={
            role: {
                "kind": "DynamoGraphDeployment",
                "name": "m",
                "component": role.title(),
                "version": version,
            }
            for role in Role
        },
        objects=objects,
        scalable=(adapters.plural,),
        counts=obeyed,
        writes=each if adapter else ("dynamographdeployments/m",),
        gpus=8,
        rolling=roll,
    )


def storm_pool() -> Scene:
    resource = Resource("orchestration.aibrix.ai", "v1alpha1", "stormservices")
    roles = [
        {
            "name": str(role),
            "replicas": n,
            "podGroupSize": 2,
            "template": {"spec": GPU_POD},
            "schedulingStrategy": {"volcano": {"minMember": 4}},
        }
        for role, n in START.items()
    ]
    spec = {"replicas": 1, "template": {"spec": {"roles": roles}}}
    status = {"roleStatuses": _role_statuses(), "currentRevision": "a", "updateRevision": "a"}

    def obeyed(server, role: Role) -> int:
        items = server.at(resource, "m")["spec"]["template"]["spec"]["roles"]
        return next(item["replicas"] for item in items if item["name"] == role)

    return Scene(
        pools={role: {"kind": "StormService", "name": "m", "role": str(role)} for role in Role},
        objects=[(resource, {"metadata": _meta("m"), "spec": spec, "status": status})],
        scalable=("stormservices",),
        counts=obeyed,
        writes=("stormservices/m",),
        gpus=8,
        floor=2,
        rolling=lambda server: server.at(resource, "m")["status"].update(updateRevision="b"),
    )


def storm_replicas() -> Scene:
    resource = Resource("orchestration.aibrix.ai", "v1alpha1", "stormservices")
    revisions = {"currentRevision": "a", "updateRevision": "a"}
    return Scene(
        pools=_each("StormService", "m"),
        objects=[
            (
                resource,
                {
                    "metadata": _meta(f"m-{role}"),
                    "spec": {"replicas": n, "template": {"spec": {"roles": []}}},
                    "status": {**_status(role), **revisions, "scalingTargetSelector": "a=b"},
                },
            )
            for role, n in START.items()
        ],
        scalable=("stormservices",),
        counts=_own(resource),
        writes=("stormservices/m-decode/scale", "stormservices/m-prefill/scale"),
        gpus=None,
        rolling=lambda server: server.at(resource, "m-decode")["status"].update(updateRevision="b"),
    )


def llm_inference_service(*, owned: bool) -> Scene:
    resource = Resource("serving.kserve.io", "v1alpha2", "llminferenceservices")
    deployments = APPS["Deployment"]
    child = {Role.PREFILL: "m-kserve-prefill", Role.DECODE: "m-kserve"}
    spec: Json = {"prefill": {}}
    if owned:
        spec = {"replicas": START[Role.DECODE], "prefill": {"replicas": START[Role.PREFILL]}}
    objects = [(resource, {"metadata": _meta("m"), "spec": spec, "status": {}})] + [
        (
            deployments,
            {
                "metadata": _meta(name),
                "spec": {
                    "replicas": START[role],
                    "selector": {"matchLabels": {"llm-d.ai/role": str(role)}},
                    "template": {"spec": GPU_POD},
                },
                "status": _status(role),
            },
        )
        for role, name in child.items()
    ]

    def obeyed(server, role: Role) -> int:
        if not owned:
            return server.at(deployments, child[role])["spec"]["replicas"]
        spec = server.at(resource, "m")["spec"]
        return (spec["prefill"] if role is Role.PREFILL else spec)["replicas"]

    each = ("deployments/m-kserve/scale", "deployments/m-kserve-prefill/scale")
    return Scene(
        pools={
            role: {"kind": "LLMInferenceService", "name": "m", "role": str(role)} for role in Role
        },
        objects=objects,
        scalable=("deployments",),
        counts=obeyed,
        writes=("llminferenceservices/m",) if owned else each,
        gpus=4,
        rolling=lambda server: server.at(deployments, "m-kserve")["status"].update(replicas=5),
    )


def role_based_group(*, adapter: bool) -> Scene:
    resource = Resource("workloads.x-k8s.io", "v1alpha2", "rolebasedgroups")
    adapters = Resource("workloads.x-k8s.io", "v1alpha2", "rolebasedgroupscalingadapters")
    roles = [
        {
            "name": str(role),
            "replicas": n,
            "template": {"spec": GPU_POD},
            "rolloutStrategy": {"rollingUpdate": {"partition": 1}},
            "scalingAdapter": {"enable": adapter},
        }
        for role, n in START.items()
    ]
    status = {"roleStatuses": _role_statuses()}
    objects = [(resource, {"metadata": _meta("m"), "spec": {"roles": roles}, "status": status})]
    if adapter:
        objects += [
            (adapters, {"metadata": _meta(f"m-{role}"), "spec": {"replicas": n}, "status": {}})
            for role, n in START.items()
        ]

    def obeyed(server, role: Role) -> int:
        if adapter:
            return server.at(adapters, f"m-{role}")["spec"]["replicas"]
        items = server.at(resource, "m")["spec"]["roles"]
        return next(item["replicas"] for item in items if item["name"] == role)

    def roll(server) -> None:
        condition = {"type": "RollingUpdateInProgress", "status": "True"}
        server.at(resource, "m")["status"]["conditions"] = [condition]

    each = tuple(f"{adapters.plural}/m-{role}/scale" for role in ("decode", "prefill"))
    return Scene(
        pools={role: {"kind": "RoleBasedGroup", "name": "m", "role": str(role)} for role in Role},
        objects=objects,
        scalable=(adapters.plural,),
        counts=obeyed,
        writes=each if adapter else ("rolebasedgroups/m",),
        gpus=4,
        floor=2,
        rolling=roll,
    )


SCENES = {
    "deployment": apps("Deployment"),
    "statefulset": apps("StatefulSet"),
    "leaderworkerset": leader_worker_set(),
    "disaggregatedset-static": disaggregated_set(external=False),
    "disaggregatedset-external": disaggregated_set(external=True),
    "podclique": grove("PodClique", "podcliques", {"podSpec": GPU_POD}, 4, "updateProgress"),
    "podcliquescalinggroup": grove(
        "PodCliqueScalingGroup", "podcliquescalinggroups", {}, None, "rollingUpdateProgress"
    ),
    "dynamo-v1beta1": dynamo("v1beta1", adapter=False),
    "dynamo-v1beta1-adapter": dynamo("v1beta1", adapter=True),
    "dynamo-v1alpha1": dynamo("v1alpha1", adapter=False),
    "dynamo-v1alpha1-adapter": dynamo("v1alpha1", adapter=True),
    "stormservice-pool": storm_pool(),
    "stormservice-replicas": storm_replicas(),
    "llminferenceservice-owner": llm_inference_service(owned=True),
    "llminferenceservice-child": llm_inference_service(owned=False),
    "rolebasedgroup": role_based_group(adapter=False),
    "rolebasedgroup-adapter": role_based_group(adapter=True),
}


@pytest.fixture(params=[pytest.param(scene, id=name) for name, scene in SCENES.items()])
def scene(request) -> Scene:
    return copy.deepcopy(request.param)


@pytest.fixture
def config(scene: Scene) -> WorkloadConfig:
    return WorkloadConfig.model_validate({"namespace": "llm", **scene.pools})


@pytest.fixture
def stage(scene: Scene, config: WorkloadConfig, api_server):
    """The scene on a server that grants exactly the generated Role."""
    server, kube = api_server
    server.scalable |= set(scene.scalable)
    for resource, found in scene.objects:
        server.put(resource, found)
    server.granted = access_for(config, "pd-planner", "llm")[0]["rules"]
    return server, make_workload(config, kube)


async def test_both_pools_are_read(stage, scene):
    _, workload = stage
    pools = await workload.read(NOW)
    for role, pool in pools.items():
        assert isinstance(pool, PoolState), pool
        assert pool.desired_replicas == START[role]
        assert pool.gpus_per_replica == scene.gpus
        assert pool.floor_replicas == scene.floor
        assert not pool.rollout_in_progress
        assert pool.other_writer is None


async def test_a_change_reaches_the_count_that_is_obeyed(stage, scene):
    server, workload = stage
    await workload.read(NOW)
    target = PerRole(4, 7)
    assert await workload.scale(target) == ()
    assert PerRole.of(lambda role: scene.counts(server, role)) == target
    paths = [path.partition("/namespaces/llm/")[2] for path, _ in server.writes()]
    assert tuple(paths) == scene.writes
    assert await workload.scale(target) == ()
    assert len(server.writes()) == len(scene.writes)


async def test_an_equal_count_is_not_written(stage):
    server, workload = stage
    await workload.read(NOW)
    assert await workload.scale(PerRole(2, 3)) == ()
    assert server.writes() == []


async def test_a_change_of_status_meanwhile_costs_one_retry(stage, scene):
    server, workload = stage
    await workload.read(NOW)
    server.before_patch = lambda: [server.touch(found) for found in server.objects.values()]
    assert await workload.scale(PerRole(2, 5)) == ()
    assert scene.counts(server, Role.DECODE) == 5


async def test_a_rollout_is_told(stage, scene):
    server, workload = stage
    scene.rolling(server)
    pools = await workload.read(NOW)
    assert pools.decode.rollout_in_progress


async def test_the_floor_holds(stage, scene):
    server, workload = stage
    await workload.read(NOW)
    failures = await workload.scale(PerRole(2, 1))
    assert scene.counts(server, Role.DECODE) == scene.floor
    assert [failure.role for failure in failures] == ([Role.DECODE] if scene.floor > 1 else [])


@pytest.mark.parametrize("code", [401, 403, 404, 500])
async def test_a_failing_read_is_a_value(stage, code):
    server, workload = stage
    for _ in range(6):
        server.fail("GET .*/namespaces/llm/[a-z]+/m", code, **{"Retry-After": "0"})
    pools = await workload.read(NOW)
    assert all(isinstance(pool, Unavailable) and pool.why for pool in pools)


@pytest.mark.parametrize("code", [403, 422, 500])
async def test_a_refused_write_is_a_failure_and_repaired_by_the_next(stage, scene, code):
    server, workload = stage
    await workload.read(NOW)
    for _ in range(6):
        server.fail("PATCH", code, "refused", **{"Retry-After": "0"})
    failures = await workload.scale(PerRole(4, 5))
    assert {failure.role for failure in failures} == {Role.PREFILL, Role.DECODE}
    assert all("refused" in failure.why or "somebody" in failure.why for failure in failures)
    server.faults.clear()
    await workload.read(NOW)
    assert await workload.scale(PerRole(4, 5)) == ()
    assert scene.counts(server, Role.DECODE) == 5
