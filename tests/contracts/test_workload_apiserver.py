"""The kinds against a real kube-apiserver: its RBAC, its optimistic locking, its scale.

Runs where KUBEBUILDER_ASSETS points to the binaries of envtest (`setup-envtest use -p path`).
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections import defaultdict
from collections.abc import Iterator

import pytest
from crds import DEFINITIONS, definition
from kube_apiserver import ASSETS, NAMESPACES, RealServer, put, running, until_present
from workload_scene import START, Scene
from workload_scenes import SCENES

from planner.kube import Json, Kube, Resource, Target
from planner.workloads.config import WorkloadConfig, make_workload
from planner.workloads.permissions import access_for
from policies.types import PerRole, PoolState, Role, Unavailable

pytestmark = pytest.mark.skipif(
    ASSETS is None, reason="KUBEBUILDER_ASSETS does not point to kube-apiserver and etcd"
)
ACCOUNT = "system:serviceaccount:system:pd-planner"
NOW = 1_700_000_000.0
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """One server for all scenes, with a definition for every kind that is not built in."""
    with running(tmp_path_factory.mktemp("apiserver"), ACCOUNT) as server:
        asyncio.run(_define(server))
        yield server


async def _define(server: RealServer) -> None:
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


class Stage:
    """One scene in a namespace of its own, and the planner under exactly its generated Role."""

    def __init__(self, scene: Scene, namespace: str, admin: Kube, planner: Kube) -> None:
        self.scene = scene
        self.admin = admin
        self.planner = planner
        self.config = WorkloadConfig.model_validate({"namespace": namespace, **scene.pools})
        self._namespace = namespace
        self._seen: dict[tuple[str, str], Json] = {}

    async def set_up(self) -> None:
        """Create namespace and objects."""
        await self.admin.create(NAMESPACES, None, {"metadata": {"name": self._namespace}})
        for resource, found in self.scene.objects:
            found["metadata"]["namespace"] = self._namespace
            await put(self.admin, resource, _complete(resource, found))

    async def grant(self) -> None:
        """Create what `planner rbac` prints."""
        for document in access_for(self.config, "pd-planner", "system"):
            group, _, version = document["apiVersion"].partition("/")
            resource = Resource(group, version, f"{document['kind'].lower()}s")
            await self.admin.create(resource, self._namespace, document)
        async with asyncio.timeout(20):  # the authoriser learns of a new Role a moment later
            while any(  # noqa: ASYNC110 - the server tells nobody when
                isinstance(pool, Unavailable) for pool in await self.read()
            ):
                await asyncio.sleep(0.1)

    async def read(self) -> PerRole[PoolState | Unavailable]:
        """Read both pools as the planner."""
        return await make_workload(self.config, self.planner).read(NOW)

    async def counts(self) -> PerRole[int]:
        """The numbers that the kind's controller obeys."""
        for resource, found in self.scene.objects:
            name = found["metadata"]["name"]
            self._seen[resource.plural, name] = await self.admin.get(
                Target(resource, self._namespace, name)
            )
        return PerRole.of(lambda role: self.scene.counts(self, role))

    def at(self, resource: Resource, name: str) -> Json:
        """An object as it was seen last; scenes count through this."""
        return self._seen[resource.plural, name]

    async def touch(self) -> None:
        """Let somebody else change every object, though not its replicas."""
        for resource, found in self.scene.objects:
            target = Target(resource, self._namespace, found["metadata"]["name"])
            await self.admin.patch(target, {"metadata": {"annotations": {"touched": "yes"}}})


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


@pytest.fixture(params=[pytest.param(name, id=name) for name in SCENES])
async def stage(request: pytest.FixtureRequest, real: RealServer):
    name = request.param
    namespace = f"llm-{next(_NUMBERS)}"
    admin, planner = await real.client("admin"), await real.client(ACCOUNT)
    found = Stage(copy.deepcopy(SCENES[name]), namespace, admin, planner)
    await found.set_up()
    yield found
    await admin.close()
    await planner.close()


async def test_without_the_role_nothing_is_read(stage: Stage) -> None:
    pools = await stage.read()
    assert all(isinstance(pool, Unavailable) and "not allowed" in pool.why for pool in pools)


async def test_both_pools_are_read_under_the_role(stage: Stage) -> None:
    await stage.grant()
    for role, pool in (await stage.read()).items():
        assert isinstance(pool, PoolState)
        assert pool.desired_replicas == START[role]
        assert pool.floor_replicas == stage.scene.floor
        assert not pool.rollout_in_progress


async def test_a_change_reaches_the_count_that_is_obeyed(stage: Stage) -> None:
    await stage.grant()
    workload = make_workload(stage.config, stage.planner)
    await workload.read(NOW)
    assert await workload.scale(PerRole(4, 7)) == ()
    assert await stage.counts() == PerRole(4, 7)


async def test_a_change_meanwhile_costs_one_retry(stage: Stage) -> None:
    await stage.grant()
    workload = make_workload(stage.config, stage.planner)
    await workload.read(NOW)
    await stage.touch()
    assert await workload.scale(PerRole(START[Role.PREFILL], 5)) == ()
    assert (await stage.counts()).decode == 5
