"""A jump in arrivals, told from the queue that it makes."""

import pytest

from policies.surge import surge
from policies.types import Observation, PerRole


def seen(waiting: float | None, rate: float | None = 41.0) -> Observation:
    return Observation(
        observed_at_seconds=0.0,
        window_seconds=60.0,
        requests_per_second=rate,
        waiting_requests=PerRole(waiting, None),
    )


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
    told = surge(seen(waiting), before, 10.0, 41.0, dispersion)
    assert told == pytest.approx(factor)


def test_without_a_rate_or_time_nothing_is_told():
    assert surge(seen(290.0, None), 0.0, 10.0, 41.0, 1.0) == 1.0
    assert surge(seen(290.0), 0.0, 0.0, 41.0, 1.0) == 1.0
