"""The least Role for a configuration, one per namespace, as Kubernetes objects."""

from __future__ import annotations

from collections import defaultdict

from planner.budget import NODES, QUEUES, QUOTAS, TOPOLOGIES, BudgetConfig
from planner.kube import PODS, Json, Resource
from planner.workloads import deletion, writers
from planner.workloads.config import WorkloadConfig
from planner.workloads.kind import Permission

_PODS = Permission("", PODS.plural, ("list",))
_EVENTS = Permission("", "events", ("create",))
_READS = frozenset({"get", "list"})
_API = "rbac.authorization.k8s.io"


def access_for(
    config: WorkloadConfig, account: str, account_namespace: str, *, act: bool = True
) -> list[Json]:
    """Make a Role and a RoleBinding for every namespace that a pool is in, the front end's too.

    A planner that only advises writes nothing, so it is granted nothing but reading.

    A budget that reads queues or nodes takes a ClusterRole and its binding as well.
    """
    needed: dict[str, list[Permission]] = defaultdict(list)
    if config.budget.resource_quota:
        needed[config.namespace].append(_reading(QUOTAS, "list"))
    for kind in config.pools.values():
        namespace = kind.target(config.namespace).namespace or config.namespace
        needed[namespace] += [*kind.permissions(), _PODS]
        if config.manners.mark_pods_to_delete and kind.may_mark_pods:
            needed[namespace].append(deletion.PERMISSION)
        if config.manners.watch_autoscalers:
            needed[namespace] += writers.PERMISSIONS
        if config.notices.events:
            needed[namespace].append(_EVENTS)
        if config.notices.annotate:
            resource = kind.target(config.namespace).resource
            needed[namespace].append(Permission(resource.group, resource.plural, ("patch",)))
    subject = {"kind": "ServiceAccount", "name": account, "namespace": account_namespace}
    documents = [
        document
        for namespace, permissions in needed.items()
        for document in _granting(
            "Role", account, rules(permissions if act else _reads(permissions)), subject, namespace
        )
    ]
    if wide := _cluster_wide(config.budget):
        name = f"{account_namespace}-{account}"  # a ClusterRole is in no namespace
        documents += _granting("ClusterRole", name, rules(wide), subject, None)
    return documents


def _granting(
    kind: str, name: str, allowed: list[Json], subject: Json, namespace: str | None
) -> list[Json]:
    """Make a role and the binding that gives it to the subject."""
    meta = {"name": name, "namespace": namespace} if namespace else {"name": name}
    reference = {"apiGroup": _API, "kind": kind, "name": name}
    version = f"{_API}/v1"
    return [
        {"apiVersion": version, "kind": kind, "metadata": meta, "rules": allowed},
        {
            "apiVersion": version,
            "kind": f"{kind}Binding",
            "metadata": meta,
            "roleRef": reference,
            "subjects": [subject],
        },
    ]


def _cluster_wide(budget: BudgetConfig) -> list[Permission]:
    """What a budget reads outside any namespace."""
    queues = [_reading(QUEUES, "get")] if budget.kai_queue is not None else []
    nodes = [_reading(NODES, "list"), _PODS] if budget.free_nodes else []
    named = budget.free_nodes and budget.topology.kai_topology is not None
    return queues + nodes + ([_reading(TOPOLOGIES, "get")] if named else [])


def _reads(permissions: list[Permission]) -> list[Permission]:
    """What of them changes nothing."""
    reading = [
        Permission(each.group, each.resource, tuple(v for v in each.verbs if v in _READS))
        for each in permissions
    ]
    return [each for each in reading if each.verbs]


def _reading(resource: Resource, verb: str) -> Permission:
    return Permission(resource.group, resource.plural, (verb,))


def rules(permissions: list[Permission]) -> list[Json]:
    """One rule per resource, its verbs joined."""
    verbs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in permissions:
        mine = verbs[each.group, each.resource]
        mine += [verb for verb in each.verbs if verb not in mine]
    return [
        {"apiGroups": [group], "resources": [resource], "verbs": allowed}
        for (group, resource), allowed in verbs.items()
    ]
