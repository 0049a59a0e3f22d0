"""What `planner check` finds in the cluster: access, both pools, other writers, pod templates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from planner.checks import Check, State
from planner.kube import Json, Kube, KubeError, Resource
from planner.workloads.config import WorkloadConfig
from planner.workloads.kind import UnexpectedShapeError, dig
from planner.workloads.object_pool import ObjectPool
from planner.workloads.permissions import access_for
from policies.types import PerRole, PoolState, Role

REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
_KUBERNETES_GRACE_SECONDS = 30.0
_WRITES = frozenset({"patch", "create"})
_AT_ONCE = 8


async def cluster_checks(
    config: WorkloadConfig,
    api: Kube,
    *,
    act: bool,
    drain_seconds: PerRole[float | None],
    now_seconds: float,
) -> tuple[Check, ...]:
    """Look at everything a tick would; `drain_seconds` is how long a role's requests stay."""
    access = await _access(config, api, act=act)
    pools = await asyncio.gather(
        *(
            _pool(
                ObjectPool(api, kind, kind.target(config.namespace), config.manners),
                name,
                act=act,
                drain_seconds=drain_seconds[Role(name)] if name in set(Role) else None,
                now_seconds=now_seconds,
            )
            for name, kind in config.pools.items()
        )
    )
    return (*access, *(check for found in pools for check in found))


async def _access(config: WorkloadConfig, api: Kube, *, act: bool) -> list[Check]:
    """Ask the server about every verb of the Role that `planner rbac` prints."""
    asked = [
        (attributes, _needed(attributes))
        for document in access_for(config, "pd-planner", config.namespace, act=act)
        for attributes in _attributes(document)
    ]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def allowed(attributes: Json) -> bool:
        async with slots:
            body = {
                "apiVersion": REVIEWS.api_version,
                "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": attributes},
            }
            return bool(dig(await api.create(REVIEWS, None, body), "status", "allowed"))

    try:
        answers = await asyncio.gather(*(allowed(attributes) for attributes, _ in asked))
    except KubeError as error:
        reached = error.status is not None
        what = "permissions cannot be reviewed" if reached else "API server"
        return [Check(State.WARNING if reached else State.FAILED, f"{what}: {error}")]
    checks = [Check(State.OK, "API server: reached")]
    denied = [case for case, answer in zip(asked, answers, strict=True) if not answer]
    checks += [
        Check(
            State.FAILED if needed else State.WARNING,
            f"not allowed: {_in_words(attributes)}; `planner rbac` prints the Role",
        )
        for attributes, needed in denied
    ]
    if not denied:
        checks.append(Check(State.OK, f"access: all {len(asked)} verbs that the planner uses"))
    return checks


def _attributes(document: Json) -> Iterator[Json]:
    """Every verb that a Role or ClusterRole grants, as an access review asks for it."""
    namespace = document["metadata"].get("namespace")
    for rule in document.get("rules", []):
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                plural, _, subresource = resource.partition("/")
                for verb in rule["verbs"]:
                    found = {"group": group, "resource": plural, "verb": verb}
                    yield (
                        found
                        | ({"namespace": namespace} if namespace else {})
                        | ({"subresource": subresource} if subresource else {})
                    )


def _needed(attributes: Json) -> bool:
    """Whether the planner cannot do its work without; an Event and a marked pod can be missed."""
    return not (attributes["resource"] in {"events", "pods"} and attributes["verb"] in _WRITES)


def _in_words(attributes: Json) -> str:
    resource = "/".join(filter(None, (attributes["resource"], attributes.get("subresource"))))
    group = f" of {attributes['group']}" if attributes["group"] else ""
    where = f"in namespace {attributes['namespace']}" if "namespace" in attributes else "everywhere"
    return f"{attributes['verb']} {resource}{group} {where}"


async def _pool(
    pool: ObjectPool, name: str, *, act: bool, drain_seconds: float | None, now_seconds: float
) -> list[Check]:
    """Read a pool as every tick will, and its pods' templates as only a check does."""
    state = await pool.read(now_seconds)
    if not isinstance(state, PoolState):
        return [Check(State.FAILED, f"{name} pool: {state.why}")]
    ready = f"{state.ready_replicas} of {state.desired_replicas} replicas ready"
    checks = [Check(State.OK, f"{name} pool: {pool.target}, {ready}")]
    if state.other_writer is not None:
        why = f"{name} pool: {state.other_writer} sets its replicas; the planner will hold"
        checks.append(Check(State.FAILED if act else State.WARNING, why))
    checks += [Check(State.WARNING, f"{name} pool: {problem}") for problem in state.problems]
    try:
        seen = await pool.look()
        pods = await pool.pods(seen)
    except (KubeError, UnexpectedShapeError) as error:
        return [*checks, Check(State.FAILED, f"{name} pods: {error}")]
    if seen.reading.starts_after:
        after = " and ".join(seen.reading.starts_after)
        checks.append(
            Check(State.OK, f"{name} pool: a replica starts after {after}; lead times include it")
        )
    return checks + list(_template_checks(name, pods, drain_seconds))


def _template_checks(name: str, pods: list[Json], drain_seconds: float | None) -> Iterator[Check]:
    """Judge the newest pod, whose template is the one that the next replica will have."""
    if not pods:
        yield Check(State.WARNING, f"{name} pods: there are none to look at")
        return
    newest = max(pods, key=lambda pod: str(dig(pod, "metadata", "creationTimestamp")))
    containers = dig(newest, "spec", "containers") or []
    if not any("readinessProbe" in container for container in containers):
        yield Check(
            State.WARNING,
            f"{name} pods: no readinessProbe, so a replica counts as ready while its model loads",
        )
    if not any("startupProbe" in container for container in containers):
        yield Check(
            State.WARNING,
            f"{name} pods: no startupProbe, so a liveness probe may end a replica that still loads",
        )
    yield _grace_check(name, newest, drain_seconds)


def _grace_check(name: str, pod: Json, drain_seconds: float | None) -> Check:
    grace = dig(pod, "spec", "terminationGracePeriodSeconds")
    grace_seconds = _KUBERNETES_GRACE_SECONDS if grace is None else float(grace)
    told = f"{name} pods: terminationGracePeriodSeconds is {grace_seconds:g}"
    if drain_seconds is None:
        return Check(
            State.OK if grace_seconds > _KUBERNETES_GRACE_SECONDS else State.WARNING,
            f"{told}; it must outlast the longest request, whose length is not known here",
        )
    if grace_seconds < drain_seconds:
        return Check(State.WARNING, f"{told}, but requests take up to {drain_seconds:.0f} s there")
    return Check(State.OK, f"{told}; requests take up to {drain_seconds:.0f} s")
