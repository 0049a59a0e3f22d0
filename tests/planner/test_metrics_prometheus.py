"""The Prometheus source against a real server that scraped a simulated Dynamo fleet."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from aiohttp import web

from planner.metrics.config import MetricsConfig, make_source
from planner.metrics.exposition import FleetCollector, FleetGauges, page
from planner.metrics.past import Past, read_demand, read_past
from policies.lengths import Lengths
from policies.types import Observation, PerRole
from replay.requests import Requests
from replay.tally import Tally

pytestmark = [pytest.mark.program("prometheus"), pytest.mark.program("promtool")]

NOW = 1_700_000_000.0
GAUGES = FleetGauges(
    waiting_requests=PerRole(6.0, 2.0),
    running_requests=PerRole(3.0, 96.0),
    ready_replicas=PerRole(3, 4),
    kv_usage_fraction=0.625,
    kv_transfer_backlog_requests=5.0,
)


def config(url: str, **changes: object) -> MetricsConfig:
    return MetricsConfig.model_validate({"url": url, "model": "Org/Tiny-8B", **changes})


def collector(tally: Tally) -> FleetCollector:
    return FleetCollector(lambda: (tally, GAUGES), model="Org/Tiny-8B")


def serve_one(tally: Tally) -> None:
    """One request of 1,000 prompt tokens (250 cached) and 101 tokens of output at 20 ms."""
    tally.arrive(Requests(*(np.array([value]) for value in (0.0, 1000.0, 101.0, 250.0))))
    tally.first_tokens(np.array([0.5]))
    tally.finish(np.array([0.02]), np.array([101.0]))


@pytest.fixture(scope="module")
def recorded(start_prometheus: Callable[..., str]) -> str:
    """Ten minutes at two requests a second, scraped every 15 s."""
    tally, past = Tally(), []
    for scrape in range(41):
        past.append((NOW - 600 + 15 * scrape, page(collector(tally)).decode(), {}))
        for _ in range(30):
            serve_one(tally)
    return start_prometheus(past=past)


@pytest.fixture
async def observed(recorded: str) -> Observation:
    source = make_source(config(recorded))
    try:
        return await source.observe(NOW)
    finally:
        await source.close()


async def test_prompts_of_which_only_the_mean_is_known_spread_as_configured(recorded: str) -> None:
    """As on a stack without a histogram of prompt lengths."""
    no_buckets = {"input_tokens_buckets": "absent_by_name"}
    source = make_source(config(recorded, queries=no_buckets), input_length_cv=0.2)
    past = await read_past(
        config(recorded, queries=no_buckets), NOW - 60, NOW, 15, input_length_cv=0.2
    )
    try:
        for seen in (await source.observe(NOW), past.observations[-1]):
            spread = Lengths.lognormal(seen.input_tokens.mean, 0.2)
            assert seen.input_tokens.tokens == pytest.approx(spread.tokens)
            assert seen.input_tokens.weights == spread.weights
    finally:
        await source.close()


def test_recorded_fleet_gives_every_signal_its_exact_value(observed: Observation) -> None:
    assert observed.problems == ()
    assert observed.observed_at_seconds == NOW
    assert observed.requests_per_second == pytest.approx(2.0)
    assert observed.output_tokens_mean == pytest.approx(101)
    assert observed.prefix_hit_fraction == pytest.approx(0.25)
    assert observed.ttft.mean_seconds == pytest.approx(0.5)
    assert observed.itl.mean_seconds == pytest.approx(0.02)
    assert observed.waiting_requests == PerRole(pytest.approx(6), pytest.approx(2))
    assert observed.running_requests == PerRole(pytest.approx(3), pytest.approx(96))
    assert observed.kv_usage_fraction == pytest.approx(0.625)
    assert observed.kv_transfer_backlog_requests == pytest.approx(5)


def test_recorded_lengths_keep_their_mean_and_latencies_their_bucket(
    observed: Observation,
) -> None:
    assert observed.input_tokens is not None
    assert observed.input_tokens.mean == pytest.approx(1000)
    # Every TTFT is 0.5 s, in the bucket (0.47, 1]: its 95th percentile is read 95% into it.
    assert observed.ttft.p95_seconds == pytest.approx(0.47 + 0.95 * 0.53)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"model": "another"}, id="another-model"),
        pytest.param({"namespace": "elsewhere"}, id="another-namespace"),
        pytest.param({"model": 'a"} or up{x="'}, id="a-name-that-is-no-injection"),
    ],
)
async def test_absent_series_are_unknown_and_the_problem_says_what_was_looked_for(
    recorded: str, changes: dict[str, str]
) -> None:
    pods = {"prefill_pods": "none", "decode_pods": "none", "dynamo_namespace": "none"}
    source = make_source(config(recorded, **pods, **changes))
    seen = await source.observe(NOW)
    await source.close()
    assert seen.requests_per_second is None
    assert seen.waiting_requests == PerRole(None, None)
    (problem,) = seen.problems
    assert "no data at all" in problem
    assert "metrics.preset" in problem


async def test_partly_absent_series_leave_the_rest_known(recorded: str) -> None:
    source = make_source(config(recorded, decode_pods="gone"))
    seen = await source.observe(NOW)
    await source.close()
    assert seen.requests_per_second == pytest.approx(2.0)
    assert seen.kv_usage_fraction is None
    assert seen.waiting_requests == PerRole(pytest.approx(6), None)
    assert "kv_usage_fraction" in seen.problems[0]


async def test_a_time_without_samples_is_unknown(recorded: str) -> None:
    source = make_source(config(recorded))
    seen = await source.observe(NOW + 3600)
    await source.close()
    assert seen.requests_per_second is None
    assert seen.problems


@pytest.fixture
async def live_fleet() -> AsyncIterator[tuple[str, Tally]]:
    """A page of a fleet, on loopback, at host:port."""
    tally = Tally()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=page(collector(tally)), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield f"{host}:{port}", tally
    await runner.cleanup()


@pytest.mark.slow
async def test_live_scrapes_follow_the_load(
    live_fleet: tuple[str, Tally], start_prometheus: Callable[..., str]
) -> None:
    target, tally = live_fleet
    job = {
        "job_name": "fleet",
        "honor_labels": True,
        "static_configs": [{"targets": [target], "labels": {"namespace": "serving"}}],
    }
    url = await asyncio.to_thread(start_prometheus, scrape_configs=[job])
    source = make_source(config(url, namespace="serving", window_seconds=4))
    loop = asyncio.get_running_loop()
    start = loop.time()
    seen: list[float] = []
    # Load of 20 requests a second by the event loop's clock, until the rate settles there.
    while len(seen) < 3 or seen[-1] != pytest.approx(20, rel=0.2):
        due = int(20 * (loop.time() - start)) - tally.arrived_requests
        for _ in range(due):
            serve_one(tally)
        observation = await source.observe(time.time())  # noqa: TID251 - the server lives now
        if observation.requests_per_second is not None:
            seen.append(observation.requests_per_second)
        await asyncio.sleep(0.1)
    await source.close()
    assert observation.waiting_requests == PerRole(pytest.approx(6), pytest.approx(2))
    assert observation.ttft.mean_seconds == pytest.approx(0.5)


async def test_the_past_is_read_step_by_step(recorded: str) -> None:
    past = await read_past(config(recorded), NOW - 480, NOW, 15)
    assert past.problems == ()
    assert [seen.observed_at_seconds for seen in past.observations] == [
        NOW - 480 + 15 * i for i in range(33)
    ]
    for seen in past.observations:
        assert seen.requests_per_second == pytest.approx(2.0)
        assert seen.ttft.mean_seconds == pytest.approx(0.5)


async def test_a_past_of_more_points_than_a_server_gives_at_once_is_read_in_parts(
    recorded: str,
) -> None:
    query = "sum(rate(dynamo_frontend_requests_started_total[60s]))"
    one = config(recorded, preset="custom", queries={"requests_per_second": query})
    past = await read_past(one, NOW - 20_000, NOW, 1)
    assert past.problems == ()
    times = [seen.observed_at_seconds for seen in past.observations]
    assert times == sorted(set(times))
    assert times[-1] == NOW
    # The oldest sample is 600 s old, and the first rate needs a second one.
    assert 585 <= len(times) <= 601


async def test_an_unreachable_past_is_a_problem() -> None:
    past = await read_past(config("http://127.0.0.1:9"), NOW - 60, NOW, 15)
    assert past.observations == ()
    assert "cannot be reached" in past.problems[0]


async def test_a_start_reads_only_the_demand_that_the_memory_missed(recorded: str) -> None:
    chosen = config(recorded, history_seconds=300)
    all_of_it = await read_demand(chosen, -math.inf, NOW, 15)
    assert [seen.observed_at_seconds for seen in all_of_it.observations] == [
        NOW - 300 + 15 * i for i in range(20)
    ]
    newest = await read_demand(chosen, NOW - 60, NOW, 15)
    assert len(newest.observations) == 4
    for seen in newest.observations:
        assert seen.requests_per_second == pytest.approx(2.0)
        assert seen.input_tokens is not None
    assert await read_demand(config(recorded, history_seconds=0), 0, NOW, 15) == Past((), ())
