"""Whatever a metrics server does wrong, the observation is unknown and says why."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from pydantic import ValidationError
from silent_server import dripping, silent

from planner.metrics.config import MetricsConfig, make_source
from policies.types import Observation, PerRole, Trust

Handler = Callable[[web.Request], web.Response]


@contextlib.asynccontextmanager
async def serving(answer: Handler) -> AsyncIterator[str]:
    """A server that answers any request with `answer`."""

    async def handle(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def observe(url: str, **changes: object) -> Observation:
    config = MetricsConfig.model_validate(
        {"url": url, "model": "m", "deadline_seconds": 5, **changes}
    )
    source = make_source(config)
    try:
        return await source.observe(1000.0)
    finally:
        await source.close()


def assert_unknown(seen: Observation) -> None:
    assert seen.requests_per_second is None
    assert seen.input_tokens is None
    assert seen.output_tokens_mean is None
    assert seen.waiting_requests == seen.running_requests == PerRole(None, None)
    assert seen.ttft.mean_seconds is seen.itl.mean_seconds is None
    assert seen.kv_usage_fraction is seen.kv_transfer_backlog_requests is None
    assert seen.problems


def vector(value: object) -> Handler:
    """Answer with one sample of `value` where the arrival rate is asked for."""
    row = {"metric": {"pd_planner_query": "requests_per_second/0"}, "value": [1000, value]}

    def answer(request: web.Request) -> web.Response:
        rows = [row] if "requests_per_second/0" in request.query["query"] else []
        return web.json_response({"status": "success", "data": {"result": rows}})

    return answer


def foreign(_: web.Request) -> web.Response:
    row = {"metric": {"pd_planner_query": "another/0"}, "value": [1000, "1"]}
    return web.json_response({"data": {"result": [row]}})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(
            lambda _: web.json_response({"error": "no"}, status=401),
            ["401", "bearer_token_file"],
            id="unauthorised",
        ),
        pytest.param(
            lambda _: web.Response(status=404), ["404", "path prefix"], id="wrong-path-prefix"
        ),
        pytest.param(
            lambda _: web.json_response({"error": "too many samples"}, status=503),
            ["503", "too many samples"],
            id="overloaded",
        ),
        pytest.param(
            lambda _: web.Response(text="<html>Sign in</html>"), ["JSON", "login"], id="login-page"
        ),
        pytest.param(lambda _: web.json_response(["odd"]), ["not Prometheus"], id="other-json"),
        pytest.param(
            lambda _: web.json_response({"data": {"result": {"a": 1}}}), ["vector"], id="no-vector"
        ),
        pytest.param(
            lambda _: web.json_response({"data": {"result": []}}), ["no data at all"], id="empty"
        ),
        pytest.param(vector("NaN"), ["no data"], id="nan"),
        pytest.param(vector("+Inf"), ["no data"], id="infinite"),
        pytest.param(vector("-3"), ["no data"], id="negative"),
        pytest.param(vector("many"), ["cannot be used"], id="no-number"),
        pytest.param(vector(None), ["vector"], id="null"),
        pytest.param(foreign, ["another/0", "not asked"], id="an-answer-to-another-question"),
    ],
)
async def test_a_bad_answer_is_unknown_and_named(answer: Handler, words: list[str]) -> None:
    async with serving(answer) as url:
        seen = await observe(url)
    assert_unknown(seen)
    for word in words:
        assert word in " ".join(seen.problems)


OK = b"HTTP/1.1 200 OK\r\n"
JSON = OK + b"Content-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        pytest.param(OK + b"X-A: ", b"a", id="a-header-without-end"),
        pytest.param(OK, b"X-A: a\r\n", id="headers-without-end"),
        pytest.param(JSON + b"Content-Length: 99999\r\n\r\n", b" ", id="a-body"),
        pytest.param(
            JSON + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", id="chunks-without-end"
        ),
    ],
)
@pytest.mark.parametrize("source", ["prometheus", "scrape"])
async def test_a_server_that_drips_is_hung_up_on_at_the_deadline(source, begin, drip) -> None:
    """Each byte comes in time; the whole never does, and would keep a thread for as long."""
    async with dripping(begin, drip) as (url, hung_up):
        changes = {"source": "scrape", "scrape": {"pages": [{"url": url}]}, "preset": "vllm"}
        given = {"deadline_seconds": 0.2, **(changes if source == "scrape" else {})}
        seen = await observe(url, **given)
        async with asyncio.timeout(5):
            await hung_up.wait()
    assert_unknown(seen)


async def test_a_refused_connection_is_unknown_without_retries() -> None:
    async with serving(lambda _: web.Response()) as url:
        pass  # the port is closed again
    seen = await observe(url)
    assert_unknown(seen)
    assert "Connection refused" in seen.problems[0]
    assert "metrics.url" in seen.problems[0]


async def test_a_silent_server_is_unknown_at_the_deadline() -> None:
    async with silent() as (url, connected):
        seen = await observe(url, deadline_seconds=0.3)
        assert connected.is_set()
    assert_unknown(seen)
    assert "did not answer within 0.3 s" in seen.problems[0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        pytest.param(
            {"warnings": ["store gateway eu-2 is down"]}, "store gateway eu-2 is down", id="thanos"
        ),
        pytest.param({"isPartial": True}, "the answer is partial", id="victoria-metrics"),
    ],
)
async def test_a_partial_answer_is_named_and_doubted(said: dict[str, object], words: str) -> None:
    config = MetricsConfig.model_validate({"url": "http://p", "model": "m"})
    names = [name for name in config.signals.signals if not name.endswith("_buckets")]
    numbers = {f"{name}/0": "0" if name.endswith("_seconds") else "1" for name in names}
    numbers["output_tokens_mean/0"] = "100"

    def answer(request: web.Request, more: dict[str, object]) -> web.Response:
        rows = [
            {"metric": {"pd_planner_query": name}, "value": [1000, value]}
            for name, value in numbers.items()
            if f'"{name}"' in request.query["query"]
        ]
        return web.json_response({"data": {"result": rows}, **more})

    async with serving(lambda request: answer(request, {})) as url:
        assert (await observe(url)).trust is Trust.FULL
    async with serving(lambda request: answer(request, said)) as url:
        seen = await observe(url)
    assert seen.problems == (f"Prometheus warns: {words}",)
    assert seen.trust is Trust.SCALE_OUT_ONLY


async def test_one_refused_query_leaves_the_others() -> None:
    def answer(request: web.Request) -> web.Response:
        query = request.query["query"]
        if "requests_started" in query:
            return web.json_response({"error": "parse error"}, status=400)
        if "decode_running_requests/0" in query:
            row = {"metric": {"pd_planner_query": "decode_running_requests/0"}, "value": [0, "7"]}
            return web.json_response({"data": {"result": [row]}})
        return web.json_response({"data": {"result": []}})

    async with serving(answer) as url:
        seen = await observe(url)
    assert seen.running_requests.decode == 7
    assert "query requests_per_second/0 is refused: parse error" in seen.problems


@pytest.mark.parametrize(
    ("section", "words"),
    [
        pytest.param({"model": "m"}, ["url"], id="no-url"),
        pytest.param({"model": "m", "url": "prometheus:9090"}, ["url"], id="no-scheme"),
        pytest.param({"url": "http://p"}, ["model"], id="no-model"),
        pytest.param({"url": "http://p", "model": "m", "windw": 1}, ["windw"], id="unknown-key"),
        pytest.param(
            {"url": "http://p", "model": "m", "preset": "dynmo"}, ["dynmo", "dynamo"], id="preset"
        ),
        pytest.param(
            {"url": "http://p", "model": "m", "window_seconds": 0}, ["window"], id="zero-window"
        ),
    ],
)
def test_a_wrong_section_is_an_error_that_names_the_key(
    section: dict[str, object], words: list[str]
) -> None:
    with pytest.raises(ValidationError) as error:
        MetricsConfig.model_validate(section)
    for word in words:
        assert word in str(error.value)
