"""The planner now, and what it decided before."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from itertools import islice
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planner.api.operation import VIEW, Operation, as_json, json_text
from planner.api.problems import BadInputError, Problem, from_validation
from planner.api.schemas import Budget, Decisions, Replicas, State, Tick
from planner.journal import Journal, Record
from policies.config import Slo

_TURN = web.AppKey("turn", asyncio.Lock)


def take_turns(app: web.Application) -> None:
    """Let one request at a time be told of the past."""
    app[_TURN] = asyncio.Lock()


class DecisionsQuery(BaseModel):
    """Which part of the past."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=100, description="most ticks returned; the newest are kept"
    )
    since: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        default=None, description="only ticks decided after this time (a `decided_at_seconds`)"
    )


async def state(request: web.Request) -> web.Response:
    """Show mode, sizes, last observation and last decision."""
    view = request.app[VIEW]
    last = view.journal.last
    tick = Tick.of(last, view.settings.slo) if last else None
    summary = view.summary()
    return as_json(
        State(
            mode=view.mode,
            profile=view.profile.name,
            slo=view.settings.slo,
            budget=Budget(
                gpus_per_replica=Replicas.model_validate(view.profile.gpus_per_replica),
                gpu_budget=view.settings.gpu_budget,
            ),
            now_seconds=view.clock.now_seconds(),
            tick_seconds=view.tick_seconds,
            explanation=tick.explanation if tick else "no decision yet: waiting for the first tick",
            last=tick,
            summary=dict(summary) if summary is not None else None,
        )
    )


async def decisions(request: web.Request) -> web.Response:
    """Show recent ticks, newest last."""
    try:
        query = DecisionsQuery.model_validate(dict(request.query))
    except ValidationError as error:
        raise BadInputError(from_validation(error, DecisionsQuery)) from None
    view = request.app[VIEW]
    records = _newest(view.journal, query)
    # Records never change, so a thread may read them; thousands take longer than a tick may wait,
    # and so much memory that whoever opens the page in an incident has to wait for the others.
    async with request.app[_TURN]:
        if request.transport is None:  # it gave up meanwhile, and may have asked again
            return web.Response()
        return json_text(await asyncio.to_thread(_told, records, view.settings.slo))


def _newest(journal: Journal, query: DecisionsQuery) -> list[Record]:
    newest_first = reversed(tuple(journal))
    wanted = (
        record
        for record in newest_first
        if query.since is None or record.decision.decided_at_seconds > query.since
    )
    return list(islice(wanted, query.limit))[::-1]


def _told(records: list[Record], slo: Slo) -> str:
    ticks = tuple(Tick.of(record, slo) for record in records)
    return Decisions(decisions=ticks).model_dump_json()


OPERATIONS = (
    Operation(
        method="GET",
        path="/api/v1/state",
        name="state",
        summary="The planner now: mode, sizes, what it saw and decided last, and why",
        handler=state,
        answers={HTTPStatus.OK: State},
    ),
    Operation(
        method="GET",
        path="/api/v1/decisions",
        name="decisions",
        summary="Recent ticks, newest last",
        handler=decisions,
        query=DecisionsQuery,
        answers={HTTPStatus.OK: Decisions, HTTPStatus.UNPROCESSABLE_ENTITY: Problem},
    ),
)
