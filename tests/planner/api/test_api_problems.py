"""Whatever goes wrong is answered with problem+json."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiohttp.test_utils import TestClient, TestServer

from planner.api.app import make_app


async def test_a_bug_is_a_problem_without_a_trace_of_it(view):
    def broken() -> None:
        raise RuntimeError("secret detail")

    async with TestClient(TestServer(make_app(replace(view, summary=broken)))) as client:
        answer = await client.get("/api/v1/state")
        text = await answer.text()
    assert answer.status == 500
    assert answer.content_type == "application/problem+json"
    assert "a bug in the planner" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        pytest.param("GET", "/nowhere", 404, id="unknown-path"),
        pytest.param("GET", "/static/../app.py", 404, id="outside-the-page"),
        pytest.param("GET", "/api/v1/recommend", 405, id="wrong-method"),
        pytest.param("DELETE", "/api/v1/state", 405, id="cannot-delete"),
    ],
)
async def test_what_there_is_not_is_a_problem_too(view, method, path, status):
    async with TestClient(TestServer(make_app(view))) as client:
        answer = await client.request(method, path)
        problem = await answer.json()
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert problem["status"] == status
    assert (status == 405) == ("Allow" in answer.headers)
