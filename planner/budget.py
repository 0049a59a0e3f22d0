"""How many GPUs both roles may hold together, as the cluster grants them now.

Every source gives a headroom on top of what the two pools already hold, and the smallest counts.
A source that cannot be read grants nothing new: a budget fails closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, PositiveFloat

from planner.kube import PODS, Json, Kube, KubeError, Resource, Target
from planner.placement import Gang, Node, Within, room
from planner.topology import Topology, amount, free_nodes, gpus_waiting
from planner.workloads.kind import GPU_RESOURCES, dig
from policies.config import Section
from policies.types import GpuCap, PerRole, Role

QUOTAS = Resource("", "v1", "resourcequotas")
NODES = Resource("", "v1", "nodes")
QUEUES = Resource("scheduling.run.ai", "v2", "queues")
TOPOLOGIES = Resource("kai.scheduler", "v1alpha1", "topologies")


class BudgetConfig(Section):
    """What the cluster grants, besides `policy.gpu_budget`; nothing set: no limit."""

    resource_quota: bool = Field(
        default=False, description="stay within the namespace's ResourceQuota"
    )
    kai_queue: str | None = Field(
        default=None, description="stay within this KAI queue and its ancestors"
    )
    preemptible: bool = Field(
        default=False, description="pods may run over the queue's quota, up to its limit"
    )
    free_nodes: bool = Field(
        default=False, description="stay within GPUs that are free on nodes; needs a ClusterRole"
    )
    topology: Topology = Topology()
    every_seconds: PositiveFloat = Field(
        default=30.0, le=3600.0, description="time between two readings of these sources, seconds"
    )

    @property
    def asks(self) -> bool:
        """Whether any source is configured."""
        return self.resource_quota or self.kai_queue is not None or self.free_nodes


@dataclass(frozen=True, slots=True)
class Headroom:
    """GPUs that may be added, and who says so; of each role alone, `replicas` at most."""

    gpus: float
    source: str
    replicas: PerRole[int] | None = None
    shortage: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the pair holds and what one more replica of each role takes."""

    replicas: PerRole[int]
    gangs: PerRole[Gang]
    nodes: frozenset[str] = frozenset()

    @property
    def gpus(self) -> int:
        """GPUs that both roles hold, those still starting included."""
        return sum(count * gang.gpus for count, gang in self.replicas.zip(self.gangs))


class GpuBudget:
    """Asks all configured sources."""

    def __init__(self, api: Kube, config: BudgetConfig, namespace: str) -> None:
        self._api = api
        self._config = config
        self._namespace = namespace

    async def read(self, claim: Claim) -> GpuCap:
        """Cap both roles together, and each where its replicas fit in few places."""
        rooms: list[Headroom] = []
        try:
            rooms += await self._cluster(claim)
        except (KubeError, ValueError) as error:
            rooms.append(Headroom(0, f"nothing new, because a source cannot be read: {error}"))
        tightest = min(rooms, key=lambda room: room.gpus, default=Headroom(math.inf, "no limit"))
        if math.isinf(tightest.gpus):
            return GpuCap(None, tightest.source)
        fits = next((room for room in rooms if room.replicas is not None), tightest)
        more = fits.replicas
        return GpuCap(
            max(0, claim.gpus + math.floor(tightest.gpus)),
            tightest.source,
            PerRole.of(lambda role: claim.replicas[role] + more[role] if more else None),
            fits.shortage,
        )

    async def _cluster(self, claim: Claim) -> list[Headroom]:
        rooms: list[Headroom] = []
        if self._config.resource_quota:
            rooms.append(quota_headroom(await self._api.find(QUOTAS, self._namespace)))
        if self._config.kai_queue is not None:
            chain = await self._queues(self._config.kai_queue)
            rooms.append(queue_headroom(chain, preemptible=self._config.preemptible))
        if self._config.free_nodes:
            levels = await self._levels()
            nodes = await self._api.find(NODES, None)
            pods = await self._api.find(PODS, None)
            waiting = gpus_waiting(pods, self._namespace)
            within = self._config.topology.within(levels)
            free = free_nodes(nodes, pods, levels[: max(within.replica, within.pair)])
            rooms.append(node_headroom(free, claim, within, waiting, levels))
        return rooms

    async def _levels(self) -> tuple[str, ...]:
        """Node labels from wide to narrow, as configured or as the Topology object has them."""
        topology = self._config.topology
        if topology.kai_topology is None:
            return topology.levels
        found = await self._api.get(Target(TOPOLOGIES, None, topology.kai_topology))
        return tuple(str(level["nodeLabel"]) for level in dig(found, "spec", "levels") or [])

    async def _queues(self, name: str) -> list[Json]:
        """Read the leaf and all its ancestors."""
        chain: list[Json] = []
        parent: str | None = name
        while parent and len(chain) < 16:  # a cycle of queues must not hold up a tick
            chain.append(await self._api.get(Target(QUEUES, None, parent)))
            parent = dig(chain[-1], "spec", "parentQueue")
        return chain


def quota_headroom(quotas: Iterable[Json]) -> Headroom:
    """Smallest `hard - used` over every quota that limits GPUs."""
    rooms = [
        Headroom(
            amount(hard) - amount((dig(quota, "status", "used") or {}).get(name)),
            f"ResourceQuota {dig(quota, 'metadata', 'name')}",
        )
        for quota in quotas
        for name, hard in (dig(quota, "status", "hard") or {}).items()
        if name.removeprefix("requests.").removeprefix("limits.") in GPU_RESOURCES
    ]
    return min(rooms, key=lambda room: room.gpus, default=Headroom(math.inf, "no ResourceQuota"))


def queue_headroom(chain: Sequence[Json], *, preemptible: bool) -> Headroom:
    """Smallest headroom over a KAI queue and its ancestors.

    Preemptible pods: limit - allocated. Others also: quota - allocated to non-preemptible ones.
    For both numbers -1 is no limit, and 0 or an absent number is none at all.
    """
    rooms = [Headroom(math.inf, "no queue")]
    for queue in chain:
        gpu = dig(queue, "spec", "resources", "gpu") or {}
        name = f"KAI queue {dig(queue, 'metadata', 'name')}"
        allocated = dig(queue, "status", "allocated") or {}
        rooms.append(Headroom(_share(gpu.get("limit"), allocated), f"{name}: limit"))
        if not preemptible:
            fixed = dig(queue, "status", "allocatedNonPreemptible") or {}
            rooms.append(Headroom(_share(gpu.get("quota"), fixed), f"{name}: quota"))
    return min(rooms, key=lambda room: room.gpus)


def node_headroom(
    nodes: Iterable[Node],
    claim: Claim,
    within: Within,
    waiting_gpus: int = 0,
    levels: Sequence[str] = (),
) -> Headroom:
    """Whole replicas of both roles that fit on free GPUs, where the topology lets them."""
    nodes = list(nodes)
    found = room(nodes, claim.gangs, within, claim.nodes)
    gpus = max(0, found.gpus - waiting_gpus)
    more = PerRole.of(
        lambda role: max(0, found.replicas[role] - math.ceil(waiting_gpus / claim.gangs[role].gpus))
    )
    pair = f" in {levels[within.pair - 1]} {found.domain[-1]}" if found.domain else ""
    place = f"one {levels[within.replica - 1]}" if within.replica else "the nodes"
    lacking = [f"{role} replica ({claim.gangs[role]})" for role in Role if not found.replicas[role]]
    near = [node.free_gpus for node in nodes if node.domain[: within.pair] == found.domain]
    shortage = (
        f"no further {' and no '.join(lacking)} fits within {place}{pair}: "
        f"the freest node there has {max(near, default=0)} GPUs free"
        if lacking
        else None
    )
    return Headroom(gpus, shortage or f"GPUs free on nodes{pair}", more, shortage)


def _share(granted: object, used: Mapping[str, object]) -> float:
    most = amount(granted)
    return math.inf if most < 0 else most - sum(amount(used.get(g)) for g in GPU_RESOURCES)
