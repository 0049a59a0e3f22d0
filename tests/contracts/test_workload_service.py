"""`planner run` as a whole, against an API server and a metrics server that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from deployments import DEPLOYMENTS, deployment
from structlog.testing import capture_logs

from planner.config import Config, load_profile
from planner.service import connect, listening, serve
from planner.store import MemoryStore
from policies.memory import Memory
from policies.types import PerRole, Role

# Enough for several replicas of either role, of an objective that every pair of ready pods meets.
DEMAND = {
    "requests_per_second": 80.0,
    "input_tokens_mean": 2000.0,
    "output_tokens_mean": 200.0,
    "demand_age_seconds": 1.0,
}


@contextlib.asynccontextmanager
async def metrics_server() -> AsyncIterator[str]:
    """Answers what `metrics.queries` below asks for: numbers."""

    async def answer(request: web.Request) -> web.Response:
        query = request.query["query"]
        rows = [
            {"metric": {"pd_planner_query": f"{name}/0"}, "value": [0, str(value)]}
            for name, value in DEMAND.items()
            if f'"{name}/0"' in query
        ]
        data = {"resultType": "vector", "result": rows}
        return web.json_response({"status": "success", "data": data})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with listening(app, "127.0.0.1", 0) as url:
        yield url


def config_of(mode: str, api: str, metrics: str, **more: object) -> Config:
    return Config.model_validate(
        {
            "mode": mode,
            "tick_seconds": 0.2,
            "deadline_seconds": 3,
            "metrics": {
                "url": metrics,
                "model": "m",
                "preset": "custom",
                "queries": {name: f"planner_{name}" for name in DEMAND},
                "history_seconds": 0,
            },
            "workload": {
                "namespace": "llm",
                "prefill": {"kind": "Deployment", "name": "vllm-prefill"},
                "decode": {"kind": "Deployment", "name": "vllm-decode"},
                "kubernetes": {"api_server": api, "deadline_seconds": 2},
            },
            "api": {"host": "127.0.0.1", "port": 0},
            **more,
        }
    )


@contextlib.asynccontextmanager
async def running(config: Config, store: MemoryStore | None = None) -> AsyncIterator[asyncio.Task]:
    profile = load_profile(config.profile)
    task = asyncio.create_task(serve(config, profile, await connect(config), store))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(true) -> None:
    """Wait for what the running service will do; ends the test when it does not."""
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - the service tells nobody what it has done
            await asyncio.sleep(0.02)


def replicas(server) -> list[int]:
    return [
        server.at(DEPLOYMENTS, f"vllm-{role}")["spec"]["replicas"] for role in ("prefill", "decode")
    ]


@pytest.mark.parametrize("mode", ["advise", "act"])
async def test_advice_sends_nothing_but_questions(pair, mode) -> None:
    server, _ = pair
    async with metrics_server() as metrics, running(config_of(mode, server.url, metrics)):
        await until(lambda: len([path for _, path, _ in server.log if "/pods" in path]) > 6)
        if mode == "act":
            await until(lambda: replicas(server) != [2, 4])
            await until(lambda: any(key[1] == "events" for key in server.objects))
    methods = {method for method, *_ in server.log}
    assert methods == ({"GET"} if mode == "advise" else {"GET", "PATCH", "POST"})


async def test_a_disk_that_is_full_costs_the_memory_alone(pair, tmp_path) -> None:
    """As RLIMIT_FSIZE and a full volume have it: the file cannot grow."""
    server, _ = pair
    store = MemoryStore(tmp_path / "memory.json")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
    try:
        with capture_logs() as logs:
            async with metrics_server() as metrics:
                config = config_of("act", server.url, metrics)
                async with running(config, store):
                    await until(lambda: replicas(server) != [2, 4])
                    await until(lambda: sum(one["event"] == "tick" for one in logs) > 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert any(one["event"] == "memory not saved" for one in logs)
    assert store.load() == Memory()


async def test_a_pool_that_is_recreated_is_read_afresh_and_its_count_respected(pair) -> None:
    """Deleted under a running planner, and made again by somebody with another count."""
    server, _ = pair
    key = server.key(DEPLOYMENTS, server.at(DEPLOYMENTS, "vllm-decode")["metadata"])
    with capture_logs() as logs:
        async with metrics_server() as metrics, running(config_of("act", server.url, metrics)):
            await until(lambda: replicas(server) != [2, 4])
            del server.objects[key]
            await until(lambda: any("was not found" in str(one) for one in logs))
            server.put(DEPLOYMENTS, deployment(Role.DECODE, 1))
            await until(lambda: any("has set its replicas to 1" in str(one) for one in logs))
    assert server.at(DEPLOYMENTS, "vllm-decode")["spec"]["replicas"] == 1


@pytest.mark.parametrize("code", [409, 429, 500])
async def test_a_server_that_refuses_writes_is_written_to_when_it_takes_them(pair, code) -> None:
    server, _ = pair
    for _ in range(8):
        server.fail("PATCH .*/scale", code, "not now", **{"Retry-After": "0"})
    async with metrics_server() as metrics, running(config_of("act", server.url, metrics)):
        await until(lambda: replicas(server) != [2, 4] and not server.faults)


async def test_a_planner_that_was_frozen_does_not_undo_what_another_did(pair) -> None:
    """Stopped after it has read, it would write a size of before what the other has written."""
    server, workload = pair
    await workload.read(0.0)
    found = server.at(DEPLOYMENTS, "vllm-decode")
    found["spec"]["replicas"] = 9
    server.touch(found)
    failures = await workload.scale(PerRole(2, 6))
    assert ["changed its replicas from 4 to 9 meanwhile" in one.why for one in failures] == [True]
    assert replicas(server) == [2, 9]
