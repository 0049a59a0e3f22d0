"""Nodes and their topology: which GPUs are free, and which of them are near each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from pydantic import Field, model_validator

from planner.kube import Json
from planner.placement import Node, Within
from planner.workloads.kind import GPU_RESOURCES, condition, dig, pod_gpus
from policies.config import Section


class Topology(Section):
    """Where GPUs must be together. Levels are node labels, the widest first: zone, block, rack."""

    levels: tuple[str, ...] = Field(
        default=(), description="node labels from the widest domain to the narrowest"
    )
    kai_topology: str | None = Field(
        default=None, description="take the levels from this KAI Topology object instead"
    )
    replica_within: str | None = Field(
        default=None, description="level in one of whose domains all pods of a replica must be"
    )
    pair_within: str | None = Field(
        default=None, description="level in one of whose domains all replicas of both roles must be"
    )

    @model_validator(mode="after")
    def _known(self) -> Topology:
        if self.levels and self.kai_topology is not None:
            raise ValueError("give levels or kai_topology, not both")
        if self.kai_topology is None:
            self.within(self.levels)
        return self

    def within(self, levels: tuple[str, ...]) -> Within:
        """Count the levels that must be shared; ValueError names one that is not there."""

        def depth(level: str | None) -> int:
            if level is None:
                return 0
            if level not in levels:
                there = ", ".join(levels) or "none"
                raise ValueError(f"topology level {level} is not among the levels: {there}")
            return levels.index(level) + 1

        return Within(replica=depth(self.replica_within), pair=depth(self.pair_within))


def free_nodes(nodes: Iterable[Json], pods: Iterable[Json], levels: Sequence[str]) -> list[Node]:
    """Free GPUs of every node that takes pods and carries all the labels of `levels`."""
    taken: dict[str, int] = defaultdict(int)
    for pod in pods:
        if _holds(pod):
            taken[str(dig(pod, "spec", "nodeName"))] += pod_gpus(pod.get("spec")) or 0
    found = []
    for node in nodes:
        labels = dig(node, "metadata", "labels") or {}
        if (
            _is_down(node)
            or dig(node, "spec", "unschedulable")
            or any(level not in labels for level in levels)
        ):
            continue
        name = str(dig(node, "metadata", "name"))
        allocatable = dig(node, "status", "allocatable") or {}
        gpus = int(sum(amount(allocatable.get(g)) for g in GPU_RESOURCES))
        domain = tuple(str(labels[level]) for level in levels)
        found.append(Node(name, max(0, gpus - taken[name]), domain))
    return found


def _is_down(node: Json) -> bool:
    """Whether the node is not ready or silent: its pods leave it, and its GPUs are nobody's."""
    return any(condition(node, "Ready", status) for status in ("False", "Unknown"))


def gpus_waiting(pods: Iterable[Json], namespace: str) -> int:
    """GPUs of pods that have no node yet: what is free is theirs before it is a new replica's."""
    return sum(
        pod_gpus(pod.get("spec")) or 0
        for pod in pods
        if _holds(pod)
        and not dig(pod, "spec", "nodeName")
        and dig(pod, "metadata", "namespace") == namespace
    )


def _holds(pod: Json) -> bool:
    return dig(pod, "status", "phase") not in {"Succeeded", "Failed"}


def amount(value: object) -> float:
    """A count of GPUs as Kubernetes writes it: a number, its digits, or nothing."""
    return float(str(value)) if value is not None else 0.0
