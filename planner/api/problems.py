"""Errors as problem+json (RFC 9457): what was wrong, where, and what would be right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger(__name__)

# The words of RFC 9110; Python has them from 3.13 on.
_RENAMED = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Content Too Large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Unprocessable Content",
}


class FieldProblem(BaseModel):
    """One field of the input that cannot be used."""

    field: str
    wrong: str
    right: str


class Problem(BaseModel):
    """The body of every error answer."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: tuple[FieldProblem, ...] = ()


class BadInputError(Exception):
    """Input that cannot be used; answered with its problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def words_of(status: HTTPStatus) -> str:
    """What a status is called, the same by every Python."""
    return _RENAMED.get(status, status.phrase)


def problem_of(status: HTTPStatus, detail: str, errors: tuple[FieldProblem, ...] = ()) -> Problem:
    """Title a problem with the words of its status."""
    return Problem(title=words_of(status), status=status, detail=detail, errors=errors)


def answer(problem: Problem, headers: dict[str, str] | None = None) -> web.Response:
    """Answer with a problem."""
    return web.Response(
        status=problem.status,
        text=problem.model_dump_json(),
        content_type="application/problem+json",
        headers=headers,
    )


def from_validation(error: ValidationError, model: type[BaseModel]) -> Problem:
    """Turn a model's complaints into field problems, each with what would be right."""
    errors = tuple(
        FieldProblem(
            field=".".join(str(part) for part in each["loc"]) or "body",
            wrong=_wrong(each["type"], each["input"]),
            right=_right(each["type"], each["msg"], _model_at(model, each["loc"])),
        )
        for each in error.errors(include_url=False)
    )
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return problem_of(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{first.field}: {first.wrong}; {first.right}{more}",
        errors,
    )


def _wrong(kind: str, given: object) -> str:
    if kind == "missing":
        return "it is missing"
    if kind == "extra_forbidden":
        return "there is no such field"
    text = repr(given)
    return f"{text[:77]}..." if len(text) > 80 else text


def _right(kind: str, message: str, model: type[BaseModel]) -> str:
    if kind in {"missing", "extra_forbidden"}:
        return f"the fields are {', '.join(model.model_fields)}"
    return message.replace("Input should", "it should")


def _model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """Find the model that a complaint's last name belongs to."""
    for name in place[:-1]:
        field = model.model_fields.get(str(name))
        if field is None or not isinstance(field.annotation, type):
            break
        model = field.annotation
    return model


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure with problem+json; a bug is logged, and not shown."""
    try:
        return await handler(request)
    except BadInputError as error:
        return answer(error.problem)
    except web.HTTPException as error:
        return _from_http(request, error)
    except Exception:
        log.exception("request failed", method=request.method, path=request.path)
        detail = "a bug in the planner; its log has the details"
        return answer(problem_of(HTTPStatus.INTERNAL_SERVER_ERROR, detail))


def _from_http(request: web.Request, error: web.HTTPException) -> web.StreamResponse:
    if error.status < HTTPStatus.BAD_REQUEST:
        raise error
    details = {
        HTTPStatus.NOT_FOUND: f"there is no {request.path}; /openapi.json lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.path} does not take {request.method}",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
            f"the body is longer than {request.client_max_size} bytes"
        ),
    }
    status = HTTPStatus(error.status)
    allowed = {key: value for key, value in error.headers.items() if key == "Allow"}
    return answer(problem_of(status, details.get(status, error.reason)), allowed)
