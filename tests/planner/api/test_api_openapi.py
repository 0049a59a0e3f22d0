"""The API keeps its own description, whatever is asked."""

from __future__ import annotations

import requests
import schemathesis
from hypothesis import HealthCheck, settings

from planner.api.app import OPERATIONS
from planner.api.openapi import document

schema = schemathesis.openapi.from_dict(document(OPERATIONS, "0"))


@schema.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_every_answer_is_as_described(case, server):
    case.call_and_validate(base_url=server, timeout=10)


def test_every_operation_is_described(server):
    described = requests.get(f"{server}/openapi.json", timeout=5).json()
    assert described["openapi"] == "3.1.0"
    assert set(described["paths"]) == {
        "/livez",
        "/readyz",
        "/metrics",
        "/api/v1/state",
        "/api/v1/decisions",
        "/api/v1/recommend",
    }
