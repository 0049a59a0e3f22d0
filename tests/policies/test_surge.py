"""A jump in arrivals, told from the queue that it makes."""

import pytest

from policies.surge import QueueReading, surge
from policies.types import Observation, PerRole, Quality


def seen(
    waiting: float | None, at_seconds: float = 10.0, age_seconds: float | None = None
) -> Observation:
    return Observation(
        observed_at_seconds=at_seconds,
        window_seconds=60.0,
        waiting_requests=PerRole(waiting, None),
        pool_quality=PerRole(Quality(age_seconds=age_seconds), Quality()),
    )


def reading(at_seconds: float, requests: float | None, ready: int = 5) -> QueueReading | None:
    return None if requests is None else QueueReading(at_seconds, requests, ready)


@pytest.mark.parametrize(
    ("waiting", "before", "dispersion", "factor"),
    [
        pytest.param(290.0, 0.0, 1.0, 70.0 / 41.0, id="a-jump"),
        pytest.param(590.0, 300.0, 1.0, 70.0 / 41.0, id="it-goes-on"),
        pytest.param(300.0, 300.0, 1.0, 1.0, id="a-queue-that-stands"),
        pytest.param(0.0, 300.0, 1.0, 1.0, id="a-queue-that-falls"),
        pytest.param(50.0, 0.0, 1.0, 1.0, id="chance"),
        pytest.param(290.0, 0.0, 500.0, 1.0, id="clumps-are-usual-here"),
        pytest.param(None, 0.0, 1.0, 1.0, id="unknown-now"),
        pytest.param(290.0, None, 1.0, 1.0, id="unknown-before"),
    ],
)
def test_the_growth_of_a_queue_tells_what_arrives(waiting, before, dispersion, factor):
    told = surge(reading(0.0, before), reading(10.0, waiting), 41.0, 8.2, dispersion)
    assert told == pytest.approx(factor)


def test_a_growth_took_the_time_between_two_readings():
    told = surge(reading(0.0, 0.0), reading(30.0, 870.0), 41.0, 8.2, 1.0)
    assert told == pytest.approx(70.0 / 41.0)


def test_replicas_that_were_not_ready_throughout_took_nothing():
    told = surge(reading(0.0, 0.0, 5), reading(10.0, 290.0, 9), 41.0, 8.2, 1.0)
    assert told == pytest.approx(70.0 / 41.0)


def test_without_a_rate_or_a_newer_reading_nothing_is_told():
    once = reading(0.0, 290.0)
    assert surge(reading(-10.0, 0.0), once, None, 8.2, 1.0) == 1.0
    assert surge(once, once, 41.0, 8.2, 1.0) == 1.0


@pytest.mark.parametrize(
    ("observation", "now"),
    [
        pytest.param(seen(290.0), reading(10.0, 290.0), id="fresh"),
        pytest.param(seen(290.0, age_seconds=4.0), reading(6.0, 290.0), id="scraped-since"),
        pytest.param(seen(100.0, age_seconds=10.1), reading(0.0, 100.0), id="not-scraped-since"),
        pytest.param(seen(None), None, id="unknown"),
    ],
)
def test_a_queue_is_as_old_as_its_scrape(observation, now):
    assert QueueReading.of(observation, 5, reading(0.0, 100.0)) == now
