"""A scene on a server: the double, or a real kube-apiserver. The same suite runs on both."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections import defaultdict
from typing import Any, Protocol

from crds import DEFINITIONS, definition
from kube_apiserver import NAMESPACES, RealServer, put, until_present
from workload_scene import Scene
from workload_scenes import SCENES

from planner.kube import PODS, Json, Kube, Resource, Target
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.pair import PairedWorkload
from planner.workloads.permissions import access_for
from planner.workloads.readiness import REVIEWS
from policies.types import PerRole, Pools, Unavailable

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
ACCOUNT = "system:serviceaccount:system:pd-planner"
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
_NUMBERS = itertools.count()


class Stage(Protocol):
    """One scene, and the planner under exactly its generated Role."""

    scene: Scene
    workload: PairedWorkload

    async def read(self) -> Pools:
        """Read both pools as the planner does."""

    async def counts(self) -> PerRole[int]:
        """The numbers that the kind's controller obeys."""

    async def versions(self) -> dict[str, str]:
        """Resource version of every object of the scene: what is written changes it."""

    async def change(self, edit: Any) -> None:
        """Let somebody else edit objects; `edit` gets something with `at(resource, name)`."""

    async def pods(self, pods: list[Json]) -> None:
        """Create pods."""

    async def regrant(self, **more: Json) -> None:
        """Add to the configuration, and grant what that takes."""


class DoubleStage:
    """On the server double."""

    def __init__(self, scene: Scene, server: Any, planner: Kube, admin: Kube) -> None:
        self.scene, self.server = scene, server
        self.admin, self.planner = admin, planner
        self.namespace = "llm"
        self.config = config = WorkloadConfig.model_validate({"namespace": "llm", **scene.pools})
        server.scalable |= set(scene.scalable)
        for resource, found in scene.objects:
            server.put(resource, found)
        server.granted = access_for(config, "pd-planner", "llm")[0]["rules"]
        self.workload = make_workload(config, planner)

    async def regrant(self, **more: Json) -> None:
        self.config = _with(self.config, more)
        self.server.granted = access_for(self.config, "pd-planner", "llm")[0]["rules"]

    async def read(self) -> Pools:
        return await self.workload.read(NOW)

    async def counts(self) -> PerRole[int]:
        return PerRole.of(lambda role: self.scene.counts(self.server, role))

    async def versions(self) -> dict[str, str]:
        found = self.server.objects.items()
        return {str(key): each["metadata"]["resourceVersion"] for key, each in found}

    async def change(self, edit: Any) -> None:
        edit(self.server)
        for resource, found in self.scene.objects:
            self.server.touch(self.server.at(resource, found["metadata"]["name"]))

    async def pods(self, pods: list[Json]) -> None:
        for pod in pods:
            self.server.put(PODS, pod)


class RealStage:
    """On a real server, in a namespace of its own."""

    def __init__(self, scene: Scene, admin: Kube, planner: Kube) -> None:
        self.scene, self.admin, self.planner = scene, admin, planner
        self.namespace = f"llm-{next(_NUMBERS)}"
        self.config = WorkloadConfig.model_validate({"namespace": self.namespace, **scene.pools})
        self.workload = make_workload(self.config, planner)
        self._seen: dict[tuple[str, str], Json] = {}

    async def set_up(self) -> None:
        """Create namespace and objects; nothing is granted yet."""
        await self.admin.create(NAMESPACES, None, {"metadata": {"name": self.namespace}})
        for resource, found in self.scene.objects:
            found["metadata"]["namespace"] = self.namespace
            await put(self.admin, resource, _complete(resource, found))

    async def grant(self) -> None:
        """Create what `planner rbac` prints, and wait until the authoriser knows it."""
        for document in access_for(self.config, "pd-planner", "system"):
            group, _, version = document["apiVersion"].partition("/")
            resource = Resource(group, version, f"{document['kind'].lower()}s")
            await self.admin.create(resource, self.namespace, document)
        async with asyncio.timeout(20):
            while any(  # noqa: ASYNC110 - the server tells nobody when
                isinstance(pool, Unavailable) for pool in await self.read()
            ):
                await asyncio.sleep(0.1)

    async def regrant(self, **more: Json) -> None:
        self.config = _with(self.config, more)
        (role, _) = access_for(self.config, "pd-planner", "system")
        target = Target(ROLES, self.namespace, role["metadata"]["name"])
        await self.admin.patch(target, {"rules": role["rules"]})
        wanted = role["rules"][-1]
        # The authoriser learns of it a moment later; an access review asks it, as a client would.
        await _until_allowed(self.planner, self.namespace, wanted)

    async def read(self) -> Pools:
        return await self.workload.read(NOW)

    async def counts(self) -> PerRole[int]:
        await self._look()
        return PerRole.of(lambda role: self.scene.counts(self, role))

    def at(self, resource: Resource, name: str) -> Json:
        """An object as it was seen last; scenes count and edit through this."""
        return self._seen[resource.plural, name]

    async def versions(self) -> dict[str, str]:
        await self._look()
        return {str(key): found["metadata"]["resourceVersion"] for key, found in self._seen.items()}

    async def change(self, edit: Any) -> None:
        await self._look()
        edit(self)
        for resource, found in self.scene.objects:
            name = found["metadata"]["name"]
            target = Target(resource, self.namespace, name)
            now = self.at(resource, name)
            await self.admin.patch(target, {"metadata": {"annotations": {"touched": "yes"}}})
            await self.admin.patch(target, {"spec": now["spec"]})
            if now.get("status"):
                await self.admin.patch(target, {"status": now["status"]}, "status")

    async def pods(self, pods: list[Json]) -> None:
        for pod in pods:
            pod["metadata"]["namespace"] = self.namespace
            del pod["metadata"]["creationTimestamp"]
            await put(self.admin, PODS, pod)

    async def _look(self) -> None:
        for resource, found in self.scene.objects:
            name = found["metadata"]["name"]
            target = Target(resource, self.namespace, name)
            self._seen[resource.plural, name] = await self.admin.get(target)


def _with(config: WorkloadConfig, more: Json) -> WorkloadConfig:
    return WorkloadConfig.model_validate({**config.model_dump(exclude_unset=True), **more})


async def _until_allowed(planner: Kube, namespace: str, rule: Json) -> None:
    plural, _, subresource = rule["resources"][0].partition("/")
    attributes = {
        "namespace": namespace,
        "group": rule["apiGroups"][0],
        "resource": plural,
        "subresource": subresource,
        "verb": rule["verbs"][-1],
    }
    body = {
        "apiVersion": REVIEWS.api_version,
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    async with asyncio.timeout(20):
        while not (  # noqa: ASYNC110 - the server tells nobody when
            await planner.create(REVIEWS, None, body)
        )["status"]["allowed"]:
            await asyncio.sleep(0.1)


async def define_kinds(server: RealServer) -> None:
    """Wait for the server, and define every kind of the scenes that is not built in."""
    api = await server.client("admin")
    try:
        await until_present(api, NAMESPACES)
        versions: dict[tuple[str, str], dict[str, None]] = defaultdict(dict)
        scalable = {plural for scene in SCENES.values() for plural in scene.scalable}
        for scene in SCENES.values():
            for resource, _ in scene.objects:
                if "." in resource.group:
                    versions[resource.plural, resource.group][resource.version] = None
        for (plural, group), names in versions.items():
            found = definition(plural, group, names, scale=plural in scalable)
            await api.create(DEFINITIONS, None, found)
        for (plural, group), names in versions.items():
            for version in names:
                await until_present(api, Resource(group, version, plural))
    finally:
        await api.close()


def _complete(resource: Resource, found: Json) -> Json:
    """Add what a built-in kind must have and a scene leaves out."""
    if resource.group != "apps":
        return found
    spec = found["spec"]
    labels = {"labels": spec["selector"]["matchLabels"]}
    pod = copy.deepcopy(spec["template"]["spec"])
    for container in pod["containers"]:
        container["image"] = "none"
    return found | {"spec": spec | {"template": {"metadata": labels, "spec": pod}}}
