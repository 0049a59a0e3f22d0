"""What Kubernetes and Prometheus ask: alive, ready, metrics."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from prometheus_client import generate_latest

from planner.api.operation import VIEW, Operation, as_json
from planner.api.schemas import Health
from planner.api.view import ServiceView
from planner.journal import Record
from policies.types import Unavailable

# Of ticks, or of the time that one may take: a restart cures no slow server, and forgets.
_TICKS_ALLOWED = 3

_STARTED = web.AppKey("started_at_seconds", float)


def remember_start(app: web.Application) -> None:
    """Note when the service began: before the first tick its age counts as the heartbeat's."""
    app[_STARTED] = app[VIEW].clock.now_seconds()


async def livez(request: web.Request) -> web.Response:
    """Pass while the loop ticks."""
    view = request.app[VIEW]
    last = view.journal.last
    beat = last.decision.decided_at_seconds if last else request.app[_STARTED]
    age = view.clock.now_seconds() - beat
    what = "the last tick was" if last else "no tick yet; started"
    allowed = _TICKS_ALLOWED * max(view.tick_seconds, view.longest_tick_seconds)
    if age <= allowed:
        return _health(ok=True, why=f"{what} {age:.0f} s ago")
    return _health(ok=False, why=f"{what} {age:.0f} s ago; {allowed:.0f} s are allowed")


async def readyz(request: web.Request) -> web.Response:
    """Pass once a tick knew both the demand and the pools; an outage later is not ours to fail.

    Failing then would take the page and the explanation away just when they are needed.
    """
    why_not = _why_not_ready(request.app[VIEW])
    return _health(ok=why_not is None, why=why_not or "the metrics and both pools were read")


async def metrics(request: web.Request) -> web.Response:
    """Show the planner's own metrics in Prometheus' text format."""
    text = generate_latest(request.app[VIEW].registry)
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})


def _health(*, ok: bool, why: str) -> web.Response:
    return as_json(Health(ok=ok, why=why), HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE)


def _why_not_ready(view: ServiceView) -> str | None:
    if any(not _missing(record) for record in view.journal):
        return None
    last = view.journal.last
    return "; ".join(_missing(last)) if last else "no tick yet"


def _missing(record: Record) -> list[str]:
    missing = [
        f"the {role} pool cannot be read: {pool.why}"
        for role, pool in record.pools.items()
        if isinstance(pool, Unavailable)
    ]
    if record.observation.requests_per_second is None:
        problems = "; ".join(record.observation.problems) or "no arrival rate"
        missing.append(f"the demand is unknown: {problems}")
    return missing


_HEALTH = {HTTPStatus.OK: Health, HTTPStatus.SERVICE_UNAVAILABLE: Health}

OPERATIONS = (
    Operation(
        method="GET",
        path="/livez",
        name="livez",
        summary="Whether the loop ticks",
        handler=livez,
        answers={**_HEALTH},
    ),
    Operation(
        method="GET",
        path="/readyz",
        name="readyz",
        summary="Whether the metrics and both pools have been read",
        handler=readyz,
        answers={**_HEALTH},
    ),
    Operation(
        method="GET",
        path="/metrics",
        name="metrics",
        summary="The planner's own metrics, for Prometheus",
        handler=metrics,
        answers={HTTPStatus.OK: None},
        content_type="text/plain",
    ),
)
