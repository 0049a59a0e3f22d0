"""The web application: every route in one place."""

from __future__ import annotations

from importlib import metadata

from aiohttp import web

from planner.api import history, pages, probes, recommend
from planner.api.openapi import document
from planner.api.operation import VIEW
from planner.api.problems import problems
from planner.api.view import ServiceView

OPERATIONS = (*probes.OPERATIONS, *history.OPERATIONS, *recommend.OPERATIONS)

# A question has a dozen short fields.
_BODY_LIMIT_BYTES = 16 * 1024


def make_app(view: ServiceView) -> web.Application:
    """Serve probes, metrics, REST endpoints and the page for one running planner."""
    app = web.Application(middlewares=[problems], client_max_size=_BODY_LIMIT_BYTES)
    app[VIEW] = view
    probes.remember_start(app)
    history.take_turns(app)
    described = document(OPERATIONS, metadata.version("pd-planner"))

    async def openapi(_request: web.Request) -> web.Response:
        return web.json_response(described)

    app.router.add_routes([web.route(each.method, each.path, each.handler) for each in OPERATIONS])
    app.router.add_routes([web.get("/openapi.json", openapi), *pages.routes()])
    return app
