"""CustomResourceDefinitions of ours for the kinds in the scenes, as small as they can be.

They have the real group, version, plural and subresources. Of the schema only the replica counts
that the scale subresource needs are typed; all else is kept as it comes.
"""

from __future__ import annotations

from collections.abc import Iterable

from planner.kube import Json, Resource

DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
_SELECTORS = {
    "leaderworkersets": ".status.hpaPodSelector",
    "stormservices": ".status.scalingTargetSelector",
}
_OPEN: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
_COUNT: Json = {"type": "integer", "minimum": 0}


def kind_of(plural: str) -> str:
    """What the definitions here call the kind; a client that reads plurals only never sees it."""
    return plural.removesuffix("s").title()


def definition(plural: str, group: str, versions: Iterable[str], *, scale: bool) -> Json:
    """One definition; the first version is the one that is stored."""
    kind = kind_of(plural)
    subresources: Json = {"status": {}}
    if scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": _SELECTORS.get(plural, ".status.selector"),
        }
    counted = _OPEN | {"properties": {"replicas": _COUNT}}
    schema = _OPEN | {"properties": {"spec": counted, "status": counted}}
    return {
        "apiVersion": DEFINITIONS.api_version,
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            # Groups under k8s.io and x-k8s.io are protected; these are for tests only.
            "annotations": {"api-approved.kubernetes.io": "unapproved, test only"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind},
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": n == 0,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": subresources,
                }
                for n, version in enumerate(versions)
            ],
        },
    }
