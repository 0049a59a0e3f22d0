"""Kinds whose one object holds both roles."""

from __future__ import annotations

from typing import Any

from workload_scene import GPU_POD, START, Scene, meta, role_statuses, status_of
from workload_scenes_apart import APPS

from planner.kube import Json, Resource
from policies.types import Role


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
        "metadata": meta("m"),
        "spec": {"roles": roles},
        "status": {"roleStatuses": role_statuses()},
    }
    objects = [(resource, main)]
    if external:
        objects += [
            (scalers, {"metadata": meta(f"m-{role}"), "spec": {"replicas": n}, "status": {}})
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
        labels=lambda role, index: {
            f"{group}/name": "m",
            f"{group}/role": str(role),
            f"{group}/revision": "1",
            "leaderworkerset.sigs.k8s.io/group-index": str(index),
        },
        gpus=4,
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
    status = {"components": {role.title(): status_of(role) for role in Role}}
    objects = [(resource, {"metadata": meta("m"), "spec": spec, "status": status})]
    if adapter:
        objects += [
            (adapters, {"metadata": meta(f"m-{role}"), "spec": {"replicas": n}, "status": {}})
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
        labels=lambda role, index: {
            "nvidia.com/dynamo-graph-deployment-name": "m",
            "nvidia.com/dynamo-component": role.title(),
            "grove.io/podcliquescalinggroup-replica-index": str(index),
        },
        size=2,
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
    status = {"roleStatuses": role_statuses(), "currentRevision": "a", "updateRevision": "a"}

    def obeyed(server, role: Role) -> int:
        items = server.at(resource, "m")["spec"]["template"]["spec"]["roles"]
        return next(item["replicas"] for item in items if item["name"] == role)

    return Scene(
        pools={role: {"kind": "StormService", "name": "m", "role": str(role)} for role in Role},
        objects=[(resource, {"metadata": meta("m"), "spec": spec, "status": status})],
        scalable=("stormservices",),
        counts=obeyed,
        writes=("stormservices/m",),
        labels=lambda role, index: {
            "storm-service-name": "m",
            "role-name": str(role),
            "stormservice.orchestration.aibrix.ai/role-replica-index": str(index),
        },
        size=2,
        gpus=8,
        floor=2,
        rolling=lambda server: server.at(resource, "m")["status"].update(updateRevision="b"),
    )


def llm_inference_service(*, owned: bool) -> Scene:
    resource = Resource("serving.kserve.io", "v1alpha2", "llminferenceservices")
    deployments = APPS["Deployment"]
    child = {Role.PREFILL: "m-kserve-prefill", Role.DECODE: "m-kserve"}
    spec: Json = {"prefill": {}}
    if owned:
        spec = {"replicas": START[Role.DECODE], "prefill": {"replicas": START[Role.PREFILL]}}
    objects = [(resource, {"metadata": meta("m"), "spec": spec, "status": {}})] + [
        (
            deployments,
            {
                "metadata": meta(name),
                "spec": {
                    "replicas": START[role],
                    "selector": {"matchLabels": {"llm-d.ai/role": str(role)}},
                    "template": {"spec": GPU_POD},
                },
                "status": status_of(role),
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
        labels=lambda role, _: {"llm-d.ai/role": str(role)},
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
    status = {"roleStatuses": role_statuses()}
    objects = [(resource, {"metadata": meta("m"), "spec": {"roles": roles}, "status": status})]
    if adapter:
        objects += [
            (adapters, {"metadata": meta(f"m-{role}"), "spec": {"replicas": n}, "status": {}})
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
        labels=lambda role, index: {
            "rbg.workloads.x-k8s.io/group-name": "m",
            "rbg.workloads.x-k8s.io/role-name": str(role),
            "rbg.workloads.x-k8s.io/role-instance-name": f"m-{role}-{index}",
        },
        gpus=4,
        floor=2,
        rolling=roll,
    )
