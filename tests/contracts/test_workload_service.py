"""`planner run` as a whole, against an API server and a metrics server that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from deployments import DEPLOYMENTS

from planner.config import Config, load_profile
from planner.service import connect, listening, serve
from planner.store import MemoryStore

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
