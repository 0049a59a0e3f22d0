"""How many GPUs both roles may hold together, as the cluster grants them now.

Every source gives a headroom on top of what the two pools already hold, and the smallest counts.
A source that cannot be read grants nothing new: a budget fails closed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, PositiveFloat

from planner.kube import PODS, Json, Kube, KubeError, Resource, Target
from planner.workloads.kind import GPU_RESOURCES, dig, pod_gpus
from policies.config import Section
from policies.types import GpuCap

QUOTAS = Resource("", "v1", "resourcequotas")
NODES = Resource("", "v1", "nodes")
QUEUES = Resource("scheduling.run.ai", "v2", "queues")


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
    topology_label: str | None = Field(
        default=None, description="node label within whose value a replica must fit, e.g. a rack's"
    )
    every_seconds: PositiveFloat = Field(
        default=30.0, description="time between two readings of these sources, seconds"
    )

    @property
    def asks(self) -> bool:
        """Whether any source is configured."""
        return self.resource_quota or self.kai_queue is not None or self.free_nodes


@dataclass(frozen=True, slots=True)
class Headroom:
    """GPUs that may be added, and who says so."""

    gpus: float
    source: str


class GpuBudget:
    """Asks all configured sources."""

    def __init__(self, api: Kube, config: BudgetConfig, namespace: str) -> None:
        self._api = api
        self._config = config
        self._namespace = namespace

    async def read(self, held_gpus: int, gang_gpus: int) -> GpuCap:
        """Cap both roles, which hold `held_gpus`; the larger replica takes `gang_gpus`."""
        rooms: list[Headroom] = []
        try:
            rooms += await self._cluster(gang_gpus)
        except KubeError as error:
            rooms.append(Headroom(0, f"nothing new, because a source cannot be read: {error}"))
        tightest = min(rooms, key=lambda room: room.gpus, default=Headroom(math.inf, "no limit"))
        if math.isinf(tightest.gpus):
            return GpuCap(None, tightest.source)
        return GpuCap(max(0, held_gpus + math.floor(tightest.gpus)), tightest.source)

    async def _cluster(self, gang_gpus: int) -> list[Headroom]:
        rooms: list[Headroom] = []
        if self._config.resource_quota:
            rooms.append(quota_headroom(await self._api.find(QUOTAS, self._namespace)))
        if self._config.kai_queue is not None:
            chain = await self._queues(self._config.kai_queue)
            rooms.append(queue_headroom(chain, preemptible=self._config.preemptible))
        if self._config.free_nodes:
            nodes = await self._api.find(NODES, None)
            pods = await self._api.find(PODS, None)
            label = self._config.topology_label
            rooms.append(node_headroom(nodes, pods, gang_gpus, label))
        return rooms

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
            _number(hard) - _number((dig(quota, "status", "used") or {}).get(name)),
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
    nodes: Iterable[Json], pods: Iterable[Json], gang_gpus: int, topology_label: str | None
) -> Headroom:
    """GPUs of whole replicas that fit on free GPUs, each replica within one topology domain.

    Domains with 3, 7 and 8 free GPUs hold 0 + 1 + 2 replicas of 4 GPUs: 12 GPUs, not 18. Without
    a label each node is a domain of its own.
    """
    taken: dict[str, int] = defaultdict(int)
    for pod in pods:
        if dig(pod, "status", "phase") not in {"Succeeded", "Failed"}:
            taken[str(dig(pod, "spec", "nodeName"))] += pod_gpus(pod.get("spec")) or 0
    free: dict[str, int] = defaultdict(int)
    for node in nodes:
        if dig(node, "spec", "unschedulable"):
            continue
        name = str(dig(node, "metadata", "name"))
        labels = dig(node, "metadata", "labels") or {}
        domain = name if topology_label is None else labels.get(topology_label)
        gpus = sum(
            _number((dig(node, "status", "allocatable") or {}).get(g)) for g in GPU_RESOURCES
        )
        if domain is not None:
            free[str(domain)] += max(0, int(gpus) - taken[name])
    replicas = sum(gpus // max(gang_gpus, 1) for gpus in free.values())
    where = f"domains of {topology_label}" if topology_label else "nodes"
    if not replicas:
        return Headroom(0, f"no replica of {gang_gpus} GPUs fits on free {where}")
    return Headroom(replicas * gang_gpus, f"GPUs free on {where}")


def _share(granted: object, used: Mapping[str, object]) -> float:
    amount = _number(granted)
    return math.inf if amount < 0 else amount - sum(_number(used.get(g)) for g in GPU_RESOURCES)


def _number(value: object) -> float:
    """A count of GPUs as Kubernetes writes it: a number, its digits, or nothing."""
    return float(str(value)) if value is not None else 0.0
