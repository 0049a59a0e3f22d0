"""Grove: a PodClique (a replica is a pod) or a PodCliqueScalingGroup (a replica is a gang).

The live objects are scaled: Grove copies the PodCliqueSet's numbers only once, at creation. Below
`minAvailable` Grove refuses nothing, and ends the whole PodCliqueSet replica some time later.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from planner.kube import Json, Resource, Target
from planner.workloads.kind import (
    PodSet,
    PoolKind,
    Reading,
    Write,
    amiss,
    count,
    dig,
    pod_gpus,
)

_PROGRESS = ("updateProgress", "rollingUpdateProgress")  # the second is its name until Nov 2025
_TROUBLES = ("MinAvailableBreached", "GangTerminationInProgress", "TopologyLevelsUnavailable")


class PodClique(PoolKind):
    """A PodClique that stands alone; a member of a scaling group must not be scaled itself."""

    kind: Literal["PodClique"]
    resource: ClassVar[Resource] = Resource("grove.io", "v1alpha1", "podcliques")

    def reading(self, found: Json, target: Target) -> Reading:
        """Read ready pods; an absent `minAvailable` means that the size is the minimum."""
        desired = count(found, "spec", "replicas")
        return Reading(
            desired=desired,
            ready=count(found, "status", "readyReplicas"),
            write=Write(target=target),
            pods=PodSet(selector=f"grove.io/podclique={target.name}"),
            gpus_per_replica=pod_gpus(dig(found, "spec", "podSpec")),
            floor=int(dig(found, "spec", "minAvailable") or max(1, desired)),
            rollout_in_progress=_rolling(found),
            starts_after=tuple(dig(found, "spec", "startsAfter") or ()),
            problems=amiss(found, when_true=_TROUBLES),
        )


class PodCliqueScalingGroup(PoolKind):
    """A PodCliqueScalingGroup; its pods tell its GPUs, because its cliques are elsewhere."""

    kind: Literal["PodCliqueScalingGroup"]
    resource: ClassVar[Resource] = Resource("grove.io", "v1alpha1", "podcliquescalinggroups")

    def reading(self, found: Json, target: Target) -> Reading:
        """Read available gangs; `status.replicas` only repeats the spec here."""
        return Reading(
            desired=count(found, "spec", "replicas"),
            ready=count(found, "status", "availableReplicas"),
            write=Write(target=target),
            pods=PodSet(
                selector=f"grove.io/podcliquescalinggroup={target.name}",
                gang_labels=("grove.io/podcliquescalinggroup-replica-index",),
                size_variable="GROVE_PCSG_TEMPLATE_NUM_PODS",
            ),
            floor=int(dig(found, "spec", "minAvailable") or 1),
            rollout_in_progress=_rolling(found),
            problems=amiss(found, when_true=_TROUBLES),
        )


def _rolling(found: Json) -> bool:
    progress = (dig(found, "status", name) for name in _PROGRESS)
    return any(each is not None and not each.get("updateEndedAt") for each in progress)
