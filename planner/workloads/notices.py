"""Decisions told where operators look: Events on the pools' objects, and optionally an annotation.

Only news is told: an applied change, a write that failed, and a hold for a new reason.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import structlog

from planner.journal import Record
from planner.kube import FIELD_MANAGER, Json, Kube, KubeError, Resource, Target
from planner.workloads.config import WorkloadConfig
from policies.types import PerRole, Role

EVENTS = Resource("", "v1", "events")
ANNOTATION = "pd-planner/last-decision"

log = structlog.get_logger(__name__)


class Notices:
    """A listener of the loop. Telling runs beside it: a slow or refusing server costs no tick."""

    def __init__(self, api: Kube, config: WorkloadConfig) -> None:
        self._api = api
        self._settings = config.notices
        self._targets = config.roles.map(lambda pool: pool.target(config.namespace))
        self._kinds = config.roles.map(lambda pool: str(pool.kind))
        self._told: dict[Role, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, record: Record) -> None:
        """Tell what is new in a tick."""
        for role, reason, message in _news(record):
            # A hold's detail changes with its numbers; its reason is what makes it news.
            key = f"{reason}: {message}" if record.applied else reason
            if self._told.get(role) == key:
                continue
            self._told[role] = key
            now_seconds = record.decision.decided_at_seconds
            task = asyncio.ensure_future(self._tell(role, reason, message, now_seconds))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until all is told."""
        await asyncio.gather(*self._tasks)

    async def _tell(self, role: Role, reason: str, message: str, now_seconds: float) -> None:
        target = self._targets[role]
        event = _event(target, self._kinds[role], reason, message, now_seconds)
        try:
            if self._settings.events:
                await self._api.create(EVENTS, target.namespace or "default", event)
            if self._settings.annotate:
                decision = json.dumps({"reason": reason, "message": message, "at": now_seconds})
                body = {"metadata": {"annotations": {ANNOTATION: decision}}}
                await self._api.patch(target, body)
        except KubeError as error:
            log.warning("an event could not be told", target=str(target), why=str(error))


def _news(record: Record) -> list[tuple[Role, str, str]]:
    """Role, reason in CamelCase as Events have it, and message."""
    decision = record.decision
    if record.applied and decision.target is not None:
        failed = {failure.role: failure.why for failure in record.failures}
        current = decision.current or PerRole(0, 0)
        return [
            (role, "ScaleFailed", failed[role])
            if role in failed
            else (role, "Scaled", f"{role} from {current[role]} to {wanted} replicas")
            for role, wanted in decision.target.items()
            if role in failed or wanted != current[role]
        ]
    if decision.hold is not None:
        reason = "Hold" + "".join(word.title() for word in decision.hold.reason.split("_"))
        return [(role, reason, decision.hold.detail) for role in Role]
    return []


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
        "type": "Warning" if reason == "ScaleFailed" else "Normal",
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
    }
