"""Kinds with an object for each role."""

from __future__ import annotations

from workload_scene import GPU_POD, START, Scene, each, meta, own_count, status_of

from planner.kube import Json, Resource
from policies.types import Role

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
        pools=each(kind, "m"),
        objects=[
            (
                resource,
                {
                    "metadata": meta(f"m-{role}"),
                    "spec": {
                        "replicas": n,
                        "selector": {"matchLabels": {"app": f"m-{role}"}},
                        **spec,
                    },
                    "status": status_of(role),
                },
            )
            for role, n in START.items()
        ],
        scalable=(resource.plural,),
        counts=own_count(resource),
        writes=(f"{resource.plural}/m-decode/scale", f"{resource.plural}/m-prefill/scale"),
        labels=lambda role, _: {"app": f"m-{role}"},
        gpus=4,
        rolling=roll,
    )


def anything() -> Scene:
    """A resource that nobody here knows, by its scale subresource alone: it tells no rollout."""
    resource = Resource("example.com", "v1", "engines")
    named = {"group": resource.group, "version": resource.version, "plural": resource.plural}
    pool = {"kind": "scale", **named, "gpus_per_replica": 4}
    return Scene(
        pools={role: {**pool, "name": f"m-{role}"} for role in Role},
        objects=[
            (
                resource,
                {
                    "metadata": meta(f"m-{role}"),
                    "spec": {"replicas": n},
                    "status": {"replicas": n, "selector": f"engine=m-{role}"},
                },
            )
            for role, n in START.items()
        ],
        scalable=("engines",),
        counts=own_count(resource),
        writes=("engines/m-decode/scale", "engines/m-prefill/scale"),
        labels=lambda role, _: {"engine": f"m-{role}"},
        gpus=4,
        rolling=None,
    )


def leader_worker_set() -> Scene:
    resource = Resource("leaderworkerset.x-k8s.io", "v1", "leaderworkersets")

    def roll(server) -> None:
        condition = {"type": "UpdateInProgress", "status": "True"}
        server.at(resource, "m-decode")["status"]["conditions"] = [condition]

    template = {"size": 2, "workerTemplate": {"spec": GPU_POD}}
    return Scene(
        pools=each("LeaderWorkerSet", "m"),
        objects=[
            (
                resource,
                {
                    "metadata": meta(f"m-{role}"),
                    "spec": {"replicas": n, "leaderWorkerTemplate": template},
                    "status": {**status_of(role), "hpaPodSelector": "x=y"},
                },
            )
            for role, n in START.items()
        ],
        scalable=("leaderworkersets",),
        counts=own_count(resource),
        writes=("leaderworkersets/m-decode/scale", "leaderworkersets/m-prefill/scale"),
        labels=lambda role, index: {
            "leaderworkerset.sigs.k8s.io/name": f"m-{role}",
            "leaderworkerset.sigs.k8s.io/group-index": str(index),
        },
        size=2,
        gpus=8,
        rolling=roll,
    )


def grove(kind: str, plural: str, spec: Json, gpus: int | None, progress: str) -> Scene:
    resource = Resource("grove.io", "v1alpha1", plural)

    def roll(server) -> None:
        found = server.at(resource, "m-decode")
        found["status"][progress] = {"updateStartedAt": "2023-11-14T22:00:00Z"}

    return Scene(
        pools=each(kind, "m"),
        objects=[
            (
                resource,
                {
                    "metadata": meta(f"m-{role}"),
                    "spec": {"replicas": n, "minAvailable": 2, **spec},
                    "status": {**status_of(role), "availableReplicas": n},
                },
            )
            for role, n in START.items()
        ],
        scalable=(plural,),
        counts=own_count(resource),
        writes=(f"{plural}/m-decode/scale", f"{plural}/m-prefill/scale"),
        labels=lambda role, index: {
            "grove.io/podcliqueset-replica-index": "0",
            **(
                {"grove.io/podclique": f"m-{role}", "grove.io/podclique-pod-index": str(index)}
                if kind == "PodClique"
                else {
                    "grove.io/podclique": f"m-{role}-{index}-worker",
                    "grove.io/podcliquescalinggroup": f"m-{role}",
                    "grove.io/podcliquescalinggroup-replica-index": str(index),
                }
            ),
        },
        size=1 if kind == "PodClique" else 2,
        size_variable=None if kind == "PodClique" else "GROVE_PCSG_TEMPLATE_NUM_PODS",
        gpus=gpus,
        floor=2,
        rolling=roll,
    )


def storm_replicas() -> Scene:
    resource = Resource("orchestration.aibrix.ai", "v1alpha1", "stormservices")
    revisions = {"currentRevision": "a", "updateRevision": "a"}
    return Scene(
        pools=each("StormService", "m"),
        objects=[
            (
                resource,
                {
                    "metadata": meta(f"m-{role}"),
                    "spec": {"replicas": n, "template": {"spec": {"roles": []}}},
                    "status": {**status_of(role), **revisions, "scalingTargetSelector": "a=b"},
                },
            )
            for role, n in START.items()
        ],
        scalable=("stormservices",),
        counts=own_count(resource),
        writes=("stormservices/m-decode/scale", "stormservices/m-prefill/scale"),
        labels=lambda role, index: {
            "storm-service-name": f"m-{role}",
            "roleset-name": f"m-{role}-roleset-{index}",
        },
        gpus=None,
        rolling=lambda server: server.at(resource, "m-decode")["status"].update(updateRevision="b"),
    )
