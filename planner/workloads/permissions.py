"""The least Role for a configuration, one per namespace, as Kubernetes objects."""

from __future__ import annotations

from collections import defaultdict

from planner.kube import Json
from planner.workloads import writers
from planner.workloads.config import WorkloadConfig
from planner.workloads.kind import Permission

_PODS = Permission("", "pods", ("list",))
_EVENTS = Permission("", "events", ("create",))
_API = "rbac.authorization.k8s.io"


def access_for(config: WorkloadConfig, account: str, account_namespace: str) -> list[Json]:
    """Make a Role and a RoleBinding for every namespace that a pool is in."""
    needed: dict[str, list[Permission]] = defaultdict(list)
    for kind in config.roles:
        namespace = kind.target(config.namespace).namespace or config.namespace
        needed[namespace] += [*kind.permissions(), _PODS]
        if config.manners.watch_autoscalers:
            needed[namespace] += writers.PERMISSIONS
        if config.notices.events:
            needed[namespace].append(_EVENTS)
        if config.notices.annotate:
            resource = kind.target(config.namespace).resource
            needed[namespace].append(Permission(resource.group, resource.plural, ("patch",)))
    subject = {"kind": "ServiceAccount", "name": account, "namespace": account_namespace}
    documents: list[Json] = []
    for namespace, permissions in needed.items():
        meta = {"name": account, "namespace": namespace}
        reference = {"apiGroup": _API, "kind": "Role", "name": account}
        documents += [
            {
                "apiVersion": f"{_API}/v1",
                "kind": "Role",
                "metadata": meta,
                "rules": rules(permissions),
            },
            {
                "apiVersion": f"{_API}/v1",
                "kind": "RoleBinding",
                "metadata": meta,
                "roleRef": reference,
                "subjects": [subject],
            },
        ]
    return documents


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
