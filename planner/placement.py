"""How many whole replicas fit on free GPUs: pods on nodes, replicas and pairs in topology domains.

A replica's pods must each fit on a node. All of them may have to be in one domain (a rack), and
all replicas of both roles in one wider domain (a block), as gang schedulers demand for fast links.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from policies.types import PerRole, Role


@dataclass(frozen=True, slots=True)
class Gang:
    """One replica: equal pods that start together or not at all."""

    pods: int
    gpus_per_pod: int

    @property
    def gpus(self) -> int:
        """GPUs of the replica."""
        return self.pods * self.gpus_per_pod

    def __str__(self) -> str:
        pods = "1 pod" if self.pods == 1 else f"{self.pods} pods"
        return f"{pods} of {self.gpus_per_pod} GPUs"


@dataclass(frozen=True, slots=True)
class Node:
    """A node's free GPUs, and its domain at every topology level, widest first."""

    name: str
    free_gpus: int
    domain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Within:
    """How many leading levels of `Node.domain` a replica, and the pair, must share; 0: none."""

    replica: int = 0
    pair: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What may be added: of each role alone, and of both together in GPUs."""

    replicas: PerRole[int]
    gpus: int
    domain: tuple[str, ...] = ()


def room(nodes: Iterable[Node], gangs: PerRole[Gang], within: Within, home: frozenset[str]) -> Room:
    """Find the most that fits; new replicas join the domain of `home`, the pair's own nodes.

    Example: racks with 3, 7 and 8 free GPUs, replicas of one pod of 4 GPUs: 0 + 1 + 2 replicas,
    so 12 GPUs and not 18. Where the pair has no node yet, the roomiest domain counts.
    """
    domains: dict[tuple[str, ...], list[Node]] = defaultdict(list)
    for node in nodes:
        domains[node.domain[: within.pair]].append(node)
    lived_in = [key for key, found in domains.items() if any(n.name in home for n in found)]
    rooms = [_room_in(key, domains[key], gangs, within) for key in lived_in or domains]
    return max(rooms, key=lambda each: each.gpus, default=Room(PerRole(0, 0), 0))


def _room_in(
    key: tuple[str, ...], nodes: Sequence[Node], gangs: PerRole[Gang], within: Within
) -> Room:
    racks: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for node in nodes:
        racks[node.domain[: within.replica]].append(node.free_gpus)
    alone = PerRole.of(lambda role: sum(_fill(free, gangs[role])[0] for free in racks.values()))
    together = sum(_most_gpus(free, gangs) for free in racks.values())
    return Room(alone, together, key)


def _most_gpus(free: Sequence[int], gangs: PerRole[Gang]) -> int:
    """GPUs that both roles can fill, the one on what the other leaves, in the better order."""

    def filled(first: Role, then: Role) -> int:
        count, left = _fill(free, gangs[first])
        return count * gangs[first].gpus + _fill(left, gangs[then])[0] * gangs[then].gpus

    return max(filled(Role.PREFILL, Role.DECODE), filled(Role.DECODE, Role.PREFILL))


def _fill(free: Sequence[int], gang: Gang) -> tuple[int, list[int]]:
    """Place as many whole replicas as fit, fullest nodes first; return them and what is left."""
    slots = sum(gpus // gang.gpus_per_pod for gpus in free)
    replicas = slots // gang.pods
    pods, left = replicas * gang.pods, []
    for gpus in sorted(free):
        here = min(pods, gpus // gang.gpus_per_pod)
        pods -= here
        left.append(gpus - here * gang.gpus_per_pod)
    return replicas, left
