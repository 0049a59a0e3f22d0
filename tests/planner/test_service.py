import asyncio
import os
import signal

import aiohttp
import pytest
from aiohttp import web
from silent_server import silent
from structlog.testing import capture_logs

from planner import service
from planner.clock import AcceleratedClock, WallClock
from planner.config import Config, load_profile
from planner.errors import UserError
from planner.metrics.scripted import ScriptedMetrics
from planner.service import Ports, listening, serve, until_signalled
from planner.workloads.in_memory import InMemoryWorkload
from policies.engine import Engine
from policies.memory import Memory
from policies.surge import QueueReading
from policies.types import Observation, PerRole

BLIND = Observation(observed_at_seconds=0.0, window_seconds=60.0)


def config_of(url: str) -> Config:
    pool = {"kind": "Deployment"}
    return Config.model_validate(
        {
            "metrics": {"url": url, "model": "m"},
            "workload": {
                "namespace": "llm",
                "prefill": pool | {"name": "p"},
                "decode": pool | {"name": "d"},
            },
            "api": {"host": "127.0.0.1", "port": 0},
        }
    )


async def test_it_serves_while_the_block_runs_and_no_longer() -> None:
    async with aiohttp.ClientSession() as session:
        async with listening(web.Application(), "127.0.0.1", 0) as address:
            response = await session.get(address)
            assert response.status == 404
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(address)


async def test_a_busy_port_is_the_user_s_to_mend() -> None:
    async with listening(web.Application(), "127.0.0.1", 0) as address:
        port = int(address.rpartition(":")[2])
        with pytest.raises(UserError, match=f"127.0.0.1:{port}: it is in use; choose another"):
            async with listening(web.Application(), "127.0.0.1", port):
                pytest.fail("two listeners on one port")


@pytest.mark.parametrize("one", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_cancels_the_work_and_lets_it_clean_up(one: signal.Signals) -> None:
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            os.kill(os.getpid(), one)
            await asyncio.Future()
        finally:
            cleaned.set()

    async with asyncio.timeout(5.0):
        assert await until_signalled(work()) is False
    assert cleaned.is_set()


async def test_work_that_ends_ends_the_wait() -> None:
    assert await until_signalled(asyncio.sleep(0)) is True


async def test_work_that_fails_tells_why() -> None:
    async def work() -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        await until_signalled(work())


async def test_a_cancellation_from_outside_is_not_taken_for_a_signal() -> None:
    task = asyncio.create_task(until_signalled(asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_signal_is_heard_while_a_slow_server_is_asked_for_the_past() -> None:
    async with silent() as (url, asked), asyncio.timeout(10.0):
        config = config_of(url)
        ports = Ports(
            metrics=ScriptedMetrics([BLIND]),
            workload=InMemoryWorkload(PerRole(1, 1)),
            clock=WallClock(),
        )
        served = asyncio.create_task(serve(config, load_profile(config.profile), ports, None))
        await asked.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await served


@pytest.mark.parametrize("failure", [KeyError("odd"), TimeoutError()], ids=["a-bug", "slow"])
async def test_a_past_that_cannot_be_read_keeps_nobody_from_starting(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise failure

    monkeypatch.setattr("planner.metrics.past.read_demand", broken)
    config = config_of("http://127.0.0.1:9")
    engine = Engine(load_profile(config.profile), config.policy)
    memory = Memory(queue=QueueReading(0.0, 5.0, 3))
    with capture_logs() as logs:
        warmed = await service._warm(config, engine, memory, AcceleratedClock())
    assert warmed is memory
    assert [line["event"] for line in logs] == ["starting without the past"]
