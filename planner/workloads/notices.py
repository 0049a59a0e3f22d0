"""Decisions told where operators look: Events on the pools' objects, and optionally an annotation.

Only news is told: an applied change, a write that failed, and a hold for a new reason.
"""

from __future__ import annotations

import asyncio
import json
import math
from datetime import UTC, datetime

import structlog

from planner.front_end import RouterTick
from planner.journal import Record
from planner.kube import FIELD_MANAGER, Json, Kube, KubeError, Resource, Target
from planner.outcome import BLIND
from planner.workloads.config import WorkloadConfig
from policies.router import NAME
from policies.types import Hold, PerRole, Role

EVENTS = Resource("", "v1", "events")
ANNOTATION = "pd-planner/last-decision"
_HOLD, _FAILED = "Hold", "ScaleFailed"
_EVENT_LIVES_SECONDS = 3600.0  # what API servers keep Events for, unless told otherwise

log = structlog.get_logger(__name__)


class Notices:
    """A listener of the loop. Telling runs beside it: a slow or refusing server costs no tick."""

    def __init__(self, api: Kube, config: WorkloadConfig) -> None:
        self._api = api
        self._settings = config.notices
        self._targets = {n: pool.target(config.namespace) for n, pool in config.pools.items()}
        self._kinds = {name: str(pool.kind) for name, pool in config.pools.items()}
        self._told: dict[tuple[str, str], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, record: Record) -> None:
        """Tell what is new in a tick."""
        for pool, reason, message in (*_news(record), *_router_news(record.router)):
            now_seconds = record.decision.decided_at_seconds
            if not self._is_news(pool, reason, message, now_seconds):
                continue
            task = asyncio.ensure_future(self._tell(pool, reason, message, now_seconds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _is_news(self, pool: str, reason: str, message: str, now_seconds: float) -> bool:
        """Whether it was not told since the pool's last change, nor within the hour.

        A hold's detail changes with its numbers, and its reason to and fro; neither is news.
        """
        held = reason.startswith(_HOLD)
        key = (pool, reason if held else f"{reason}: {message}")
        if now_seconds - self._told.get(key, -math.inf) < _EVENT_LIVES_SECONDS:
            return False
        if not held:
            self._told = {known: at for known, at in self._told.items() if known[0] != pool}
        self._told[key] = now_seconds
        return True

    async def settle(self) -> None:
        """Wait until all is told."""
        await asyncio.gather(*self._tasks)

    async def _tell(self, pool: str, reason: str, message: str, now_seconds: float) -> None:
        target = self._targets[pool]
        event = _event(target, self._kinds[pool], reason, message, now_seconds)
        try:
            if self._settings.events:
                await self._api.create(EVENTS, target.namespace or "default", event)
            if self._settings.annotate:
                decision = json.dumps({"reason": reason, "message": message, "at": now_seconds})
                body = {"metadata": {"annotations": {ANNOTATION: decision}}}
                await self._api.patch(target, body)
        except KubeError as error:
            log.warning("an event could not be told", target=str(target), why=str(error))


News = list[tuple[str, str, str]]  # pool, reason in CamelCase as Events have it, message


def _news(record: Record) -> News:
    """What is to be told of the two roles."""
    decision = record.decision
    if record.applied and decision.target is not None:
        failed = {failure.role: failure.why for failure in record.failures}
        current = decision.current or PerRole(0, 0)
        return [
            (str(role), _FAILED, failed[role])
            if role in failed
            else (str(role), "Scaled", f"{role} from {current[role]} to {wanted} replicas")
            for role, wanted in decision.target.items()
            if role in failed or wanted != current[role]
        ]
    if decision.hold is not None:
        return [(str(role), _reason(decision.hold), decision.hold.detail) for role in Role]
    return []


def _router_news(turn: RouterTick | None) -> News:
    """What is to be told of the front end."""
    if turn is None:
        return []
    decision = turn.decision
    if decision.hold is not None:
        return [(NAME, _reason(decision.hold), decision.hold.detail)]
    if not turn.applied:
        return []
    if turn.failure is not None:
        return [(NAME, _FAILED, turn.failure)]
    return [(NAME, "Scaled", f"{NAME} from {decision.current} to {decision.target} replicas")]


def _reason(hold: Hold) -> str:
    """A hold's reason as an Event has it: `metrics_stale` is HoldMetricsStale."""
    return _HOLD + "".join(word.title() for word in hold.reason.split("_"))


# What somebody should look at: a write that failed, and a hold for want of knowledge.
_WARNINGS = frozenset({_FAILED, *(_reason(Hold(reason, "")) for reason in BLIND)})


def _event(target: Target, kind: str, reason: str, message: str, now_seconds: float) -> Json:
    at = datetime.fromtimestamp(now_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reference = {
        "apiVersion": target.resource.api_version,
        "kind": kind,
        "namespace": target.namespace,
        "name": target.name,
    }
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{target.name}.", "namespace": target.namespace},
        "involvedObject": reference,
        "reason": reason,
        "message": message[:1024],
        "type": "Warning" if reason in _WARNINGS else "Normal",
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
    }
