"""Which pods a scale-in is to delete: those with the least work, where the controller asks.

A ReplicaSet deletes pods that are not ready first, and among the others those with the least
`pod-deletion-cost`; without that annotation a pod costs 0. StatefulSets, LeaderWorkerSets and Grove
go by ordinals or ages and never look at it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

import structlog

from planner.kube import PODS, Json, Kube, KubeError, Target
from planner.workloads.kind import Permission, dig
from planner.workloads.pods import is_ready

COST = "controller.kubernetes.io/pod-deletion-cost"
PERMISSION = Permission("", PODS.plural, ("patch",))
# Low enough to go first, and unlikely enough to be somebody else's, so that it can be taken back.
_FIRST = "-190701"
_LONGEST_SECONDS = 2.0  # an order of deletion is worth no more of a tick

WorkOfPods = Callable[[float], Awaitable[Mapping[str, float]]]

log = structlog.get_logger(__name__)


class DeletionOrder:
    """Marks pods before a scale-in. Without marks it goes ahead all the same."""

    def __init__(self, api: Kube, work: WorkOfPods | None) -> None:
        self._api = api
        self._work = work

    async def mark(self, pods: Iterable[Json], surplus: int, now_seconds: float) -> None:
        """Mark the `surplus` pods that are missed least, and take back older marks."""
        pods = list(pods)
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                work = await self._work(now_seconds) if self._work else {}
                await asyncio.gather(
                    *(self._write(pod, cost) for pod, cost in marks(pods, surplus, work))
                )
        except TimeoutError:
            log.warning("pods to delete not marked in time", within_seconds=_LONGEST_SECONDS)
        except KubeError as error:
            log.warning("pods to delete not marked", why=str(error))

    async def _write(self, pod: Json, cost: str | None) -> None:
        meta = pod["metadata"]
        target = Target(PODS, meta["namespace"], meta["name"])
        try:
            await self._api.patch(target, {"metadata": {"annotations": {COST: cost}}})
        except KubeError as error:
            if error.status != 404:  # a pod that is gone needs no mark
                raise


def marks(
    pods: Iterable[Json], surplus: int, work: Mapping[str, float]
) -> list[tuple[Json, str | None]]:
    """Choose what to write on which pod; None takes our mark away.

    Not ready first, as the controller will, then the least known work, then the youngest: it holds
    the least cache. A pod of unknown work is taken to have more than any other. Where somebody
    else has set costs, the order is theirs and nothing is marked.
    """
    live = [
        pod
        for pod in pods
        if not dig(pod, "metadata", "deletionTimestamp")
        and dig(pod, "status", "phase") not in {"Succeeded", "Failed"}
    ]
    costs = {_name(pod): (dig(pod, "metadata", "annotations") or {}).get(COST) for pod in live}
    if any(cost not in {None, _FIRST} for cost in costs.values()):
        return []
    # Two stable sorts: the youngest first, and then by what counts more.
    live.sort(key=lambda pod: str(dig(pod, "metadata", "creationTimestamp")), reverse=True)
    live.sort(key=lambda pod: (is_ready(pod), work.get(_name(pod), float("inf"))))
    wanted = {_name(pod): _FIRST for pod in live[: max(surplus, 0)]}
    return [
        (pod, wanted.get(_name(pod))) for pod in live if wanted.get(_name(pod)) != costs[_name(pod)]
    ]


def _name(pod: Json) -> str:
    return str(dig(pod, "metadata", "name"))
