"""What every MetricsSource keeps to, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from planner.metrics.config import MetricsConfig, make_source
from planner.ports import MetricsSource

MakeSource = Callable[[], MetricsSource]


def unreachable_prometheus() -> MetricsSource:
    # Port 9 (discard) is privileged and closed: the connection is refused at once.
    return make_source(MetricsConfig.model_validate({"url": "http://127.0.0.1:9", "model": "m"}))


@pytest.fixture(params=[pytest.param(unreachable_prometheus, id="prometheus")])
def blind(request: pytest.FixtureRequest) -> Iterator[MakeSource]:
    """Sources that can reach nothing."""
    return request.param


async def test_an_outage_is_an_observation_of_unknowns_with_problems(blind: MakeSource) -> None:
    source = blind()
    seen = await source.observe(123.0)
    await source.close()
    assert seen.requests_per_second is None
    assert seen.problems


async def test_close_may_be_called_twice(blind: MakeSource) -> None:
    source = blind()
    await source.close()
    await source.close()
