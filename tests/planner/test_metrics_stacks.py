"""Every stack, through both sources: the same fleet gives the same observation."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from metrics_fleet import GAUGES, MODEL, NOW, Past, record, serve, with_labels
from pydantic import TypeAdapter

from planner.metrics.config import MetricsConfig, make_source
from planner.metrics.evaluator import Answers
from planner.metrics.exporters import EXPORTERS
from planner.metrics.exposition import FleetCollector, page
from planner.metrics.prometheus import PrometheusEvaluator
from planner.metrics.reading import queries
from planner.metrics.scrape import ScrapeEvaluator
from policies.types import Observation, Trust
from replay.tally import Tally

pytestmark = [pytest.mark.program("prometheus"), pytest.mark.program("promtool")]

STACKS = sorted(EXPORTERS)

# The bucket of each stack that holds 20 ms.
ITL_BUCKETS = {
    "dynamo": (0.011, 0.02),
    "vllm": (0.01, 0.025),
    "vllm-llmd": (0.01, 0.025),
    "sglang": (0.015, 0.02),
    "trtllm": (0.01, 0.025),
}


RESTARTS = {"steady": None, "restart": 39, "fresh-restart": 40}  # at which scrape


@pytest.fixture(scope="module")
def prometheus(start_prometheus: Callable[..., str]) -> str:
    """One server with the past of every fleet, each in a namespace of its own."""
    past = [
        (seconds, with_labels(pages), {"namespace": f"{stack}-{case}"})
        for stack in STACKS
        for case, restarts_at in RESTARTS.items()
        for seconds, pages in record(stack, restarts_at=restarts_at)
    ]
    return start_prometheus(past=past)


@dataclass
class Pods:
    """Metrics pages that a test changes."""

    pages: dict[str, str] = field(default_factory=dict)
    address: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        text = self.pages.get(request.match_info["pod"])
        return web.Response(text=text) if text is not None else web.Response(status=503)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Pods]:
    pods = Pods()
    app = web.Application()
    app.router.add_get("/{pod}/metrics", pods.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    pods.address = f"http://{host}:{port}"
    try:
        yield pods
    finally:
        await runner.cleanup()


def config(stack: str, case: str = "steady", **changes: object) -> MetricsConfig:
    settings = {
        "preset": stack,
        "model": MODEL,
        "window_seconds": 65,
        "namespace": f"{stack}-{case}",
    }
    return MetricsConfig.model_validate({**settings, **changes})


def scraping(stack: str, address: str, names: list[str], case: str = "steady") -> MetricsConfig:
    pages = [{"url": f"{address}/{pod}/metrics", "pod": pod} for pod in names]
    return config(stack, case, source="scrape", scrape={"pages": pages})


async def observe_by_prometheus(stack: str, url: str) -> Observation:
    source = make_source(config(stack, url=url))
    seen = await source.observe(NOW)
    await source.close()
    return seen


async def observe_by_scrape(stack: str, past: Past) -> Observation:
    async with serving() as pods:
        source = make_source(scraping(stack, pods.address, sorted(past[-1][1])))
        for seconds, pages in past:
            pods.pages = pages
            seen = await source.observe(seconds)
        await source.close()
    return seen


@pytest.mark.parametrize("kind", ["prometheus", "scrape"])
@pytest.mark.parametrize("stack", STACKS)
async def test_every_stack_gives_the_numbers_of_the_fleet(
    stack: str, kind: str, prometheus: str
) -> None:
    seen = (
        await observe_by_prometheus(stack, prometheus)
        if kind == "prometheus"
        else await observe_by_scrape(stack, record(stack))
    )
    assert seen.problems == ()
    assert seen.trust is Trust.FULL
    assert seen.requests_per_second == pytest.approx(2.0)
    assert seen.finished_per_second == pytest.approx(2.0)
    assert seen.input_tokens is not None
    assert seen.input_tokens.mean == pytest.approx(1000)
    assert seen.output_tokens_mean == pytest.approx(101)
    assert seen.prefix_hit_fraction == pytest.approx(0.25)
    assert seen.ttft.mean_seconds == pytest.approx(0.5)
    assert seen.itl.mean_seconds == pytest.approx(0.02)
    # Every gap is 20 ms, so a quantile lies that far within the stack's own bucket around it.
    below, edge = ITL_BUCKETS[stack]
    quantiles = (seen.itl.p50_seconds, seen.itl.p95_seconds, seen.itl.p99_seconds)
    for share, quantile in zip((0.5, 0.95, 0.99), quantiles, strict=True):
        assert quantile == pytest.approx(below + share * (edge - below))
    assert list(seen.waiting_requests) == pytest.approx([6, 2])
    assert list(seen.running_requests) == pytest.approx([3, 96])
    assert seen.kv_usage_fraction == pytest.approx(0.625)
    assert seen.kv_usage_max_fraction == pytest.approx(0.625)
    assert seen.kv_transfer.mean_seconds == pytest.approx(0.04)
    assert [quality.coverage_fraction for quality in seen.pool_quality] == [1.0, 1.0]
    assert [quality.age_seconds for quality in seen.pool_quality] == [0.0, 0.0]
    assert list(seen.live_pods) == [3, 4]
    if stack != "trtllm":  # which reports neither
        assert seen.kv_transfer_backlog_requests == pytest.approx(5)
        assert seen.kv_transfer.bytes_per_second == pytest.approx(2 * 2.0**27)
        assert seen.kv_transfer.failures_per_second == 0


def near(name: str) -> float | None:
    """How far two sources may differ: the planner dates a sample when it reads it."""
    return 0.05 if "arrival_dispersion" in name else None


async def answers_of(stack: str, case: str, past: Past, url: str) -> tuple[Answers, Answers]:
    """The vectors of all queries: by a server, and by the planner itself on the same scrapes."""
    chosen = config(stack, case, url=url)
    server = PrometheusEvaluator(chosen)
    asked = queries(chosen.signals, chosen.selection)
    by_server = await server.evaluate(asked, past[-1][0])
    await server.close()
    async with serving() as pods:
        own = ScrapeEvaluator(scraping(stack, pods.address, sorted(past[-1][1]), case))
        for seconds, pages in past:
            pods.pages = pages
            by_planner = await own.evaluate(asked, seconds)
        await own.close()
    return by_server, by_planner


@pytest.mark.parametrize("case", RESTARTS)
@pytest.mark.parametrize("stack", STACKS)
async def test_the_planner_evaluates_every_query_as_a_server_does(
    stack: str, case: str, prometheus: str
) -> None:
    past = record(stack, restarts_at=RESTARTS[case])
    by_server, by_planner = await answers_of(stack, case, past, prometheus)
    assert by_server.problems == by_planner.problems == ()
    for name, vector in by_server.vectors.items():
        found = {tuple(sorted(s.labels.items())): s.value for s in by_planner.vectors[name]}
        wanted = {tuple(sorted(s.labels.items())): s.value for s in vector}
        assert found == pytest.approx(wanted, nan_ok=True, abs=near(name)), name


async def test_one_page_for_all_pods_works_too() -> None:
    tally = Tally()
    collector = FleetCollector(lambda: (tally, GAUGES), MODEL)
    async with serving() as pods:
        source = make_source(scraping("dynamo", pods.address, ["fleet"]))
        serve(tally, 300)
        for tick in range(5):
            pods.pages = {"fleet": page(collector).decode()}
            seen = await source.observe(NOW + 15 * tick)
            serve(tally, 30)
        await source.close()
    assert seen.requests_per_second == pytest.approx(2.0)
    assert list(seen.waiting_requests) == pytest.approx([6, 2])


def numbers_of(seen: Observation) -> dict[str, object]:
    """Every field by its path, numbers and what is unknown alike."""
    found: dict[str, object] = {}

    def visit(path: str, value: object) -> None:
        if isinstance(value, dict):
            for name, part in value.items():
                visit(f"{path}.{name}", part)
        elif isinstance(value, list):
            for i, part in enumerate(value):
                visit(f"{path}.{i}", part)
        else:
            found[path] = value

    visit("", TypeAdapter(Observation).dump_python(seen, mode="json"))
    return found


@pytest.mark.parametrize("stack", STACKS)
async def test_both_sources_observe_the_same_of_the_same_fleet(stack: str, prometheus: str) -> None:
    by_prometheus = numbers_of(await observe_by_prometheus(stack, prometheus))
    by_scrape = numbers_of(await observe_by_scrape(stack, record(stack)))
    assert by_prometheus.keys() == by_scrape.keys()
    for path, value in by_prometheus.items():
        same = pytest.approx(value, abs=near(path)) if isinstance(value, float) else value
        assert by_scrape[path] == same, path
