"""P/D workloads that are recognised in a namespace, each with the configuration that names it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from planner.kube import Json, Kube, KubeError, Resource
from planner.workloads.deployment import Deployment
from planner.workloads.disaggregatedset import DisaggregatedSet
from planner.workloads.dynamo import DynamoGraphDeployment
from planner.workloads.grove import PodClique, PodCliqueScalingGroup
from planner.workloads.kind import PoolKind, dig
from planner.workloads.leaderworkerset import LeaderWorkerSet
from planner.workloads.llminferenceservice import LLMInferenceService
from planner.workloads.rolebasedgroup import RoleBasedGroup
from planner.workloads.statefulset import StatefulSet
from planner.workloads.stormservice import StormService
from policies.types import PerRole, Role

# Kinds of which one object holds both roles, as items with a name: where those items are.
_WITH_ROLES: tuple[tuple[type[PoolKind], tuple[str, ...], str], ...] = (
    (DynamoGraphDeployment, ("spec", "components"), "component"),
    (RoleBasedGroup, ("spec", "roles"), "role"),
    (StormService, ("spec", "template", "spec", "roles"), "role"),
    (DisaggregatedSet, ("spec", "roles"), "role"),
)
# Kinds of which one object holds one role.
_OF_ONE_ROLE: tuple[type[PoolKind], ...] = (
    PodCliqueScalingGroup,
    PodClique,
    LeaderWorkerSet,
    StatefulSet,
    Deployment,
)
_ROLE_LABELS = ("llm-d.ai/role", "nvidia.com/dynamo-component-type", "role-name")
_ROLE_IN_NAME = re.compile(
    r"(?P<before>^|[-_.])(?P<role>prefill|decode)(?=$|[-_.0-9])", re.IGNORECASE
)


_FRONT_IN_NAME = re.compile(r"(^|[-_.])(router|front-?end)(?=$|[-_.0-9])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Discovered:
    """A pair of pools, and the front end before it; as the workload section has them."""

    name: str
    pools: PerRole[Json]
    router: Json | None = None


async def discover(api: Kube, namespace: str) -> list[Discovered]:
    """List what is recognised; parts of an object that is itself recognised are left out."""
    found: list[Discovered] = []
    for kind, path, key in _WITH_ROLES:
        for each in await _listed(api, kind.resource, namespace):
            found += _by_items(kind, each, path, key)
    for each in await _listed(api, LLMInferenceService.resource, namespace):
        if dig(each, "spec", "prefill") is not None:
            found.append(_by_field(each))
    for kind in _OF_ONE_ROLE:
        objects = [
            each for each in await _listed(api, kind.resource, namespace) if not _owned(each)
        ]
        found += _by_name(kind, objects)
    return found


async def _listed(api: Kube, resource: Resource, namespace: str) -> list[Json]:
    try:
        return await api.find(resource, namespace)
    except KubeError as error:
        if error.status == 404:  # this API is not installed
            return []
        raise


def _owned(found: Json) -> bool:
    """Whether a controller owns its replica count."""
    owners = dig(found, "metadata", "ownerReferences") or []
    # Grove's live objects are the ones to scale, although a PodCliqueSet owns them.
    return any(owner.get("controller") and owner.get("kind") != "PodCliqueSet" for owner in owners)


def _by_items(
    kind: type[PoolKind], found: Json, path: tuple[str, ...], key: str
) -> Iterator[Discovered]:
    pools: dict[Role, Json] = {}
    router: Json | None = None
    for item in dig(found, *path) or []:
        name = str(item.get("name"))
        role = _role(item.get("type")) or _role_in(name)
        if role:
            pools[role] = _pool(kind, found, **{key: name})
        elif item.get("type") == "frontend" or _FRONT_IN_NAME.search(name):
            router = _pool(kind, found, **{key: name})
    name = dig(found, "metadata", "name")
    yield from _pairs({name: pools}, {name: router} if router else {})


def _by_field(found: Json) -> Discovered:
    pools = PerRole.of(lambda role: _pool(LLMInferenceService, found, role=str(role)))
    return Discovered(dig(found, "metadata", "name"), pools)


def _by_name(kind: type[PoolKind], objects: list[Json]) -> Iterator[Discovered]:
    """Pair objects whose names differ only in the role, or whose labels say it."""
    groups: dict[str, dict[Role, Json]] = defaultdict(dict)
    fronts: dict[str, Json] = {}
    for each in objects:
        name = str(dig(each, "metadata", "name"))
        labels = {
            **(dig(each, "metadata", "labels") or {}),
            **(dig(each, "spec", "template", "metadata", "labels") or {}),
        }
        labelled = next(filter(None, (_role(labels.get(label)) for label in _ROLE_LABELS)), None)
        role = labelled or _role_in(name)
        if role:
            stem = _ROLE_IN_NAME.sub(r"\g<before>", name).strip("-_.")
            groups[stem][role] = _pool(kind, each)
        elif _FRONT_IN_NAME.search(name):
            fronts[_FRONT_IN_NAME.sub(r"\1", name).strip("-_.")] = _pool(kind, each)
    yield from _pairs(groups, fronts)


def _pairs(groups: dict[str, dict[Role, Json]], fronts: dict[str, Json]) -> Iterator[Discovered]:
    for name, pools in groups.items():
        if len(pools) == len(Role):
            yield Discovered(name, PerRole.of(pools.__getitem__), fronts.get(name))


def _role(text: object) -> Role | None:
    return Role(text) if isinstance(text, str) and text in set(Role) else None


def _role_in(name: str) -> Role | None:
    match = _ROLE_IN_NAME.search(name) or re.search(r"(?P<role>Prefill|Decode)", name)
    return Role(match["role"].lower()) if match else None


def _pool(kind: type[PoolKind], found: Json, **more: str) -> Json:
    return {"kind": kind.__name__, "name": dig(found, "metadata", "name"), **more}
