"""What a pool's pods say: which replicas start, drain, are stuck, and how long a start takes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from planner.kube import Json
from planner.workloads.kind import PodSet, dig, pod_gpus

# A pod in one of these does not become ready by waiting.
_WILL_NOT_HEAL = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """The replicas of a pool by what their pods do."""

    ready: int
    starting_ages_seconds: tuple[float, ...]
    draining: int
    stuck: tuple[str, ...]
    startup_seconds: tuple[float, ...]
    gpus_per_replica: int | None
    pods_per_replica: int
    nodes: frozenset[str]

    @property
    def startup_seconds_p90(self) -> float | None:
        """Scale-up to ready, as measured; None when no replica's start can be told."""
        ordered = sorted(self.startup_seconds)
        return ordered[math.ceil(0.9 * len(ordered)) - 1] if ordered else None


def take_census(
    pods: Iterable[Json], pod_set: PodSet, now_seconds: float, stuck_after_seconds: float
) -> Census:
    """Group pods into replicas and count those.

    A replica is stuck when a pod of it cannot start by waiting, or has been unschedulable for
    longer than `stuck_after_seconds`; it is not starting then. Finished pods are left out.
    """
    ready = draining = 0
    ages: list[float] = []
    stuck: list[str] = []
    startups: list[float] = []
    gpus: list[int | None] = []
    nodes: set[str] = set()
    largest = pod_set.pods_per_replica
    for gang in _gangs(pods, pod_set):
        live = [pod for pod in gang if not dig(pod, "metadata", "deletionTimestamp")]
        nodes |= {str(node) for pod in live if (node := dig(pod, "spec", "nodeName"))}
        wanted = _size(live, pod_set)
        largest = max(largest, wanted, len(live))
        if not live:
            draining += 1
        elif len(live) >= wanted and all(map(is_ready, live)):
            ready += 1
            startups += _startup_seconds(live)
            gpus.append(_gang_gpus(live))
        else:
            age = max(0.0, now_seconds - min(map(_created_seconds, live)))
            why = next(filter(None, map(_why_unhealing, live)), None) or (
                next(filter(None, map(_why_unschedulable, live)), None)
                if age > stuck_after_seconds
                else None
            )
            if why:
                stuck.append(why)
            else:
                ages.append(age)
    return Census(
        ready=ready,
        starting_ages_seconds=tuple(sorted(ages, reverse=True)),
        draining=draining,
        stuck=tuple(stuck),
        startup_seconds=tuple(startups),
        gpus_per_replica=max((each for each in gpus if each is not None), default=None),
        pods_per_replica=largest,
        nodes=frozenset(nodes),
    )


def _gangs(pods: Iterable[Json], pod_set: PodSet) -> list[list[Json]]:
    gangs: dict[tuple[str, ...], list[Json]] = defaultdict(list)
    for pod in pods:
        if dig(pod, "status", "phase") in {"Succeeded", "Failed"}:
            continue
        labels = dig(pod, "metadata", "labels") or {}
        key = tuple(str(labels.get(label, "")) for label in pod_set.gang_labels)
        gangs[key if any(key) else (dig(pod, "metadata", "name"),)].append(pod)
    return list(gangs.values())


def _size(gang: Sequence[Json], pod_set: PodSet) -> int:
    """How many pods make this replica whole, as they themselves or their object tell."""
    told = [
        int(variable["value"])
        for pod in gang
        for container in dig(pod, "spec", "containers") or []
        for variable in container.get("env") or []
        if variable.get("name") == pod_set.size_variable and str(variable.get("value")).isdigit()
    ]
    return max(told, default=pod_set.pods_per_replica)


def _gang_gpus(gang: Sequence[Json]) -> int | None:
    known = [gpus for pod in gang if (gpus := pod_gpus(pod.get("spec"))) is not None]
    return sum(known) if known else None


def is_ready(pod: Json) -> bool:
    """Whether the pod takes requests."""
    return (_condition(pod, "Ready") or {}).get("status") == "True"


def _startup_seconds(gang: Sequence[Json]) -> list[float]:
    """From creation of the first pod to readiness of the last; none where a restart blurs it."""
    restarts = sum(
        int(status.get("restartCount") or 0)
        for pod in gang
        for status in dig(pod, "status", "containerStatuses") or []
    )
    told = [(_condition(pod, "Ready") or {}).get("lastTransitionTime") for pod in gang]
    ready_at = [str(timestamp) for timestamp in told if timestamp]
    if restarts or len(ready_at) < len(gang):
        return []
    taken = max(map(_seconds, ready_at)) - min(map(_created_seconds, gang))
    return [taken] if taken >= 0 else []


def _why_unhealing(pod: Json) -> str | None:
    statuses = dig(pod, "status", "containerStatuses") or []
    statuses = [*statuses, *(dig(pod, "status", "initContainerStatuses") or [])]
    for status in statuses:
        waiting = dig(status, "state", "waiting") or {}
        if waiting.get("reason") in _WILL_NOT_HEAL:
            return _about(pod, waiting["reason"], waiting.get("message"))
    return None


def _why_unschedulable(pod: Json) -> str | None:
    condition = _condition(pod, "PodScheduled") or {}
    if condition.get("status") == "False":
        return _about(pod, condition.get("reason") or "Unschedulable", condition.get("message"))
    return None


def _about(pod: Json, reason: str, message: str | None) -> str:
    return f"pod {dig(pod, 'metadata', 'name')}: {reason}" + (f": {message}" if message else "")


def _condition(pod: Json, kind: str) -> Json | None:
    conditions = dig(pod, "status", "conditions") or []
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def _created_seconds(pod: Json) -> float:
    return _seconds(dig(pod, "metadata", "creationTimestamp"))


def _seconds(timestamp: str) -> float:
    """RFC 3339 to seconds since the epoch."""
    return datetime.fromisoformat(timestamp).timestamp()
