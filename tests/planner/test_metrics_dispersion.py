"""How bursty arrivals are, as a real server and the planner's own reads tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import numpy as np
import pytest
from aiohttp import web

from planner.metrics.config import MetricsConfig, make_source
from planner.metrics.prometheus import PrometheusEvaluator
from policies.dispersion import MOST_DISPERSION, dispersion
from policies.types import Observation

NOW = 1_700_000_000.0
COUNTER = "dynamo_frontend_requests_started_total"
FRONT_ENDS = 4
RATE = 20.0
STEP, WINDOW = 15.0, 600.0
SPAN = 6 * WINDOW
CLUMPS = {"poisson": 1, "clumped": 5}

Counters = list[list[tuple[float, float]]]  # of each front end, (time, value)


def read_at(kind: str, phases: Iterable[float]) -> Counters:
    """Round-robin over the front ends; the reads of each are a phase apart from the others'."""
    rng = np.random.default_rng(3)
    size = CLUMPS[kind]
    clumps = rng.uniform(0, SPAN, rng.poisson(RATE * SPAN / size))
    spread = rng.uniform(0, 1, (len(clumps), size)) * (size > 1)
    arrivals = NOW - SPAN + np.sort((clumps[:, None] + spread).ravel())
    reads = [np.arange(NOW - SPAN + 0.1 + phase, NOW, STEP) for phase in phases]
    return [
        [(float(at), 100.0 + np.searchsorted(arrivals[pod::FRONT_ENDS], at)) for at in times]
        for pod, times in enumerate(reads)
    ]


def page(value: float, model: str = "m") -> str:
    return f'# TYPE {COUNTER} counter\n{COUNTER}{{model="{model}"}} {value}\n'


def config(**changes: object) -> MetricsConfig:
    return MetricsConfig.model_validate({"model": "m", "window_seconds": WINDOW, **changes})


@pytest.fixture(scope="module")
def prometheus(start_prometheus: Callable[..., str]) -> str:
    """Each kind of arrivals in a namespace of its own, and more counters than are read."""
    past = [
        (at, page(value), {"pod": f"frontend-{pod}", "namespace": kind})
        for kind in CLUMPS
        for pod, points in enumerate(read_at(kind, (0.0, 3.7, 8.2, 11.9)))
        for at, value in points
    ]
    past += [(NOW, page(1.0), {"pod": f"p{i}", "namespace": "many"}) for i in range(501)]
    return start_prometheus(past=sorted(past, key=lambda one: one[0]))


@pytest.mark.program("prometheus")
@pytest.mark.program("promtool")
@pytest.mark.parametrize("kind", CLUMPS)
async def test_a_server_tells_how_bursty_arrivals_over_several_pods_are(
    kind: str, prometheus: str
) -> None:
    source = make_source(config(url=prometheus, namespace=kind))
    seen = await source.observe(NOW)
    await source.close()
    # 236 bins: 15% is one standard deviation.
    assert seen.arrival_dispersion == pytest.approx(CLUMPS[kind], rel=0.4)
    own = dispersion(read_at(kind, (0.0, 3.7, 8.2, 11.9)))
    assert seen.arrival_dispersion == pytest.approx(own, rel=0.01)  # milliseconds are rounded


@pytest.mark.program("prometheus")
@pytest.mark.program("promtool")
async def test_more_counters_than_are_read_are_a_problem_and_nothing_else(prometheus: str) -> None:
    evaluator = PrometheusEvaluator(config(url=prometheus))
    asked = {
        "requests_per_second/0": f'sum({COUNTER}{{namespace="many"}})',
        "arrival_dispersion/0": f'{COUNTER}{{namespace="many"}}[5m]',
    }
    answers = await evaluator.evaluate(asked, NOW)
    await evaluator.close()
    assert answers.vectors["requests_per_second/0"][0].value == 501
    assert "arrival_dispersion/0" not in answers.vectors
    (problem,) = answers.problems
    assert "more than 500 counters" in problem


async def serve(app: web.Application) -> tuple[web.AppRunner, str]:
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return runner, f"http://{host}:{port}"


async def observed_of(
    answer: Callable[[web.Request], Awaitable[web.Response]], query: str
) -> Observation:
    """What is observed of a server that answers so, with a query for the dispersion."""
    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    runner, url = await serve(app)
    queries = {"requests_per_second": "sum(x)", "arrival_dispersion": query}
    source = make_source(config(url=url, preset="custom", queries=queries))
    seen = await asyncio.wait_for(source.observe(NOW), 10)
    await source.close()
    await runner.cleanup()
    return seen


@pytest.mark.parametrize("kind", CLUMPS)
async def test_the_planners_own_reads_tell_it_too(kind: str) -> None:
    counters = [points[:60] for points in read_at(kind, [0.0] * FRONT_ENDS)]
    found = await read_by_planner(counters, window_seconds=150)
    assert found[:10] == [None] * 10
    assert None not in found[10:]
    assert found[-1] == pytest.approx(dispersion(counters), rel=0.05)


async def test_the_shortest_window_holds_enough_of_them() -> None:
    counters = [points[:20] for points in read_at("poisson", [0.0] * FRONT_ENDS)]
    found = await read_by_planner(counters, 2 * STEP)
    assert None not in found[10:]


async def read_by_planner(counters: Counters, window_seconds: float) -> list[float | None]:
    """What the scrape source tells at each of the reads."""
    values: dict[str, float] = {}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=page(values[request.match_info["pod"]]))

    app = web.Application()
    app.router.add_get("/{pod}/metrics", answer)
    runner, url = await serve(app)
    pods = [f"frontend-{pod}" for pod in range(FRONT_ENDS)]
    pages = [{"url": f"{url}/{pod}/metrics", "pod": pod} for pod in pods]
    scrape = {"source": "scrape", "scrape": {"pages": pages}}
    source = make_source(config(window_seconds=window_seconds, **scrape))
    found = []
    for reads in zip(*counters, strict=True):
        values |= {pod: value for pod, (_, value) in zip(pods, reads, strict=True)}
        seen = await source.observe(reads[0][0])
        found.append(seen.arrival_dispersion)
    await source.close()
    await runner.cleanup()
    return found


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        pytest.param(
            422, {"status": "error", "error": "no ranges here"}, "no ranges", id="refused"
        ),
        pytest.param(500, {"status": "error", "error": "boom"}, "boom", id="failed"),
        pytest.param(
            200, {"status": "success", "data": {"result": [{}]}}, "no vector", id="broken"
        ),
    ],
)
async def test_a_server_that_answers_no_samples_leaves_everything_else_known(
    status: int, body: object, says: str
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.query["query"].endswith("]"):
            return web.json_response(body, status=status)
        row = {"metric": {"pd_planner_query": "requests_per_second/0"}, "value": [NOW, "7"]}
        return web.json_response({"status": "success", "data": {"result": [row]}})

    seen = await observed_of(answer, "x[5m]")
    assert seen.requests_per_second == 7
    assert seen.arrival_dispersion is None
    assert any(says in problem for problem in seen.problems)


async def test_a_query_for_the_number_itself_is_capped_as_well() -> None:
    async def answer(_: web.Request) -> web.Response:
        row = {"metric": {"pd_planner_query": "arrival_dispersion/0"}, "value": [NOW, "1e9"]}
        return web.json_response({"status": "success", "data": {"result": [row]}})

    seen = await observed_of(answer, "max(recorded)")
    assert seen.arrival_dispersion == MOST_DISPERSION


def test_no_other_signal_is_read_from_samples() -> None:
    with pytest.raises(ValueError, match="only arrival_dispersion"):
        config(url="http://p", queries={"requests_per_second": "x[5m]"})


def test_the_planners_own_reads_take_no_samples_of_another_time() -> None:
    pages = {"source": "scrape", "scrape": {"pages": [{"url": "http://p/metrics"}]}}
    with pytest.raises(ValueError, match="needs a Prometheus server"):
        config(**pages, queries={"arrival_dispersion": "x[5m] offset 1m"})
    with pytest.raises(ValueError, match="needs a Prometheus server"):
        config(**pages, queries={"arrival_dispersion": "rate(x[1m])[5m:15s]"})
