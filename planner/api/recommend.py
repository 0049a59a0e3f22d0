"""POST /api/v1/recommend."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web
from pydantic import ValidationError

from planner.api.operation import VIEW, Operation, as_json
from planner.api.problems import BadInputError, Problem, from_validation, problem_of
from planner.api.recommendation import Recommendation, RecommendRequest


async def recommend(request: web.Request) -> web.Response:
    """Size both pools for the load in the body."""
    if request.content_type != "application/json":
        detail = f"the body is {request.content_type}; it should be application/json"
        raise BadInputError(problem_of(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail))
    body = await request.read()
    try:
        question = RecommendRequest.model_validate_json(body)
    except ValidationError as error:
        raise BadInputError(_problem(error)) from None
    view = request.app[VIEW]
    return as_json(question.solve(view.profile, view.settings))


def _problem(error: ValidationError) -> Problem:
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return problem_of(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {first['msg']}")
    return from_validation(error, RecommendRequest)


OPERATIONS = (
    Operation(
        method="POST",
        path="/api/v1/recommend",
        name="recommend",
        summary="Size both pools for a steady load",
        handler=recommend,
        body=RecommendRequest,
        answers={
            HTTPStatus.OK: Recommendation,
            HTTPStatus.BAD_REQUEST: Problem,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Problem,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE: Problem,
            HTTPStatus.UNPROCESSABLE_ENTITY: Problem,
        },
    ),
)
