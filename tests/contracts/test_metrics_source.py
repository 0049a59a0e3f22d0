"""What every MetricsSource keeps to, whatever stands behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from aiohttp import web

from planner.metrics.config import MetricsConfig, make_source
from planner.metrics.exposition import fleet_collector, page
from planner.metrics.simulated import SimulatedMetrics
from planner.ports import MetricsSource
from policies.config import Slo
from policies.profile import builtin
from policies.types import Observation, PerRole, Trust
from replay.fleet import Fleet
from replay.physics import Physics
from replay.plant import Plant
from replay.requests import Requests

pytestmark = pytest.mark.slow

NOBODY = "http://127.0.0.1:9"  # the discard port is closed: a connection is refused at once


def unreachable_prometheus() -> MetricsSource:
    return make_source(MetricsConfig.model_validate({"url": NOBODY, "model": "m"}))


def unreachable_pages() -> MetricsSource:
    scrape = {"pages": [{"url": f"{NOBODY}/metrics"}]}
    return make_source(
        MetricsConfig.model_validate({"source": "scrape", "scrape": scrape, "model": "m"})
    )


blind = pytest.mark.parametrize(
    "make",
    [
        pytest.param(unreachable_prometheus, id="prometheus"),
        pytest.param(unreachable_pages, id="scrape"),
    ],
)


@blind
async def test_an_outage_is_an_observation_of_unknowns_with_problems(
    make: Callable[[], MetricsSource],
) -> None:
    source = make()
    seen = await source.observe(123.0)
    await source.close()
    assert seen.observed_at_seconds == 123.0
    assert seen.requests_per_second is None
    assert seen.waiting_requests == PerRole(None, None)
    assert seen.trust is Trust.NONE
    assert any("127.0.0.1:9" in problem for problem in seen.problems)


@blind
async def test_close_may_be_called_twice_and_before_any_observation(
    make: Callable[[], MetricsSource],
) -> None:
    source = make()
    await source.close()
    await source.close()


PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
WINDOW = 60.0
START = 1_700_000_000.0
TICKS = 40
SETTINGS = {"model": "m", "window_seconds": WINDOW}


def busy_fleet() -> Fleet:
    """Four requests a second for ten minutes, on two replicas of each role.

    Lengths repeat every five seconds, so any stretch of the load is like any other.
    """
    place = np.arange(2400)
    requests = Requests.of(place / 4, 200 + 90 * (place % 20), 20 + 14 * (place % 20))
    physics = Physics.from_profile(PROFILE, startup_seconds=PerRole(60.0, 60.0))
    plant = Plant(physics, PerRole(2, 2))
    return Fleet(plant, iter([requests]), Slo(), window_seconds=WINDOW)


async def simulated(_: Callable[..., str]) -> Observation:
    source = SimulatedMetrics(busy_fleet())
    for tick in range(1, TICKS):
        seen = await source.observe(15.0 * tick)
    await source.close()
    return seen


async def scraped(_: Callable[..., str]) -> Observation:
    fleet = busy_fleet()
    collector = fleet_collector(fleet, "m")

    async def metrics(__: web.Request) -> web.Response:
        return web.Response(body=page(collector))

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
    pages = {"source": "scrape", "scrape": {"pages": [{"url": url}]}}
    source = make_source(MetricsConfig.model_validate({**SETTINGS, **pages}))
    for tick in range(1, TICKS):
        fleet.advance(15.0 * tick)
        seen = await source.observe(15.0 * tick)
    await source.close()
    await runner.cleanup()
    return seen


async def queried(start_prometheus: Callable[..., str]) -> Observation:
    fleet, past = busy_fleet(), []
    collector = fleet_collector(fleet, "m")
    for tick in range(1, TICKS):
        fleet.advance(15.0 * tick)
        past.append((START + 15.0 * tick, page(collector).decode(), {}))
    url = await asyncio.to_thread(start_prometheus, past=past)
    source = make_source(MetricsConfig.model_validate({**SETTINGS, "url": url}))
    seen = await source.observe(START + 15.0 * (TICKS - 1))
    await source.close()
    return seen


seeing = pytest.mark.parametrize(
    "observe",
    [
        pytest.param(simulated, id="simulated"),
        pytest.param(scraped, id="scrape"),
        pytest.param(
            queried,
            id="prometheus",
            marks=[pytest.mark.program("prometheus"), pytest.mark.program("promtool")],
        ),
    ],
)


@seeing
async def test_every_source_sees_the_same_fleet(
    observe: Callable[[Callable[..., str]], Awaitable[Observation]],
    start_prometheus: Callable[..., str],
) -> None:
    truth = await simulated(start_prometheus)
    seen = await observe(start_prometheus)
    assert seen.problems == ()
    assert seen.trust is Trust.FULL
    assert seen.window_seconds == WINDOW
    # Gauges are the same instant's; rates and means are of nearly the same minute.
    assert list(seen.waiting_requests) == pytest.approx(list(truth.waiting_requests))
    assert list(seen.running_requests) == pytest.approx(list(truth.running_requests))
    assert seen.kv_usage_fraction == pytest.approx(truth.kv_usage_fraction)
    assert seen.kv_transfer_backlog_requests == truth.kv_transfer_backlog_requests
    assert seen.requests_per_second == pytest.approx(truth.requests_per_second, rel=0.05)
    assert seen.arrival_dispersion == pytest.approx(truth.arrival_dispersion, abs=0.05)
    assert seen.input_tokens is not None
    assert truth.input_tokens is not None
    assert seen.input_tokens.mean == pytest.approx(truth.input_tokens.mean, rel=0.05)
    assert seen.output_tokens_mean == pytest.approx(truth.output_tokens_mean, rel=0.05)
    assert seen.ttft.mean_seconds == pytest.approx(truth.ttft.mean_seconds, rel=0.05)
    # A source that counts gaps weighs long answers more than one that counts requests.
    assert seen.itl.mean_seconds == pytest.approx(truth.itl.mean_seconds, rel=0.05)
