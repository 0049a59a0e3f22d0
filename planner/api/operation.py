"""An endpoint as data: the routes and the OpenAPI document are both read from it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from aiohttp import web
from pydantic import BaseModel

from planner.api.view import ServiceView

VIEW = web.AppKey("view", ServiceView)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method on one path. `query` and `body` are models of the input, `answers` of the output.

    A status whose model is None answers in `content_type`, described as a string.
    """

    method: Literal["GET", "POST"]
    path: str
    name: str
    summary: str
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    answers: dict[HTTPStatus, type[BaseModel] | None]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    content_type: str = "application/json"


def as_json(model: BaseModel, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Answer with a model."""
    return json_text(model.model_dump_json(), status)


def json_text(text: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    """Answer with JSON; compressed for clients that can, uncached: it is about now."""
    response = web.Response(
        status=status,
        text=text,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
    response.enable_compression()
    return response
