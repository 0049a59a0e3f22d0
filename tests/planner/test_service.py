import asyncio
import os
import signal
from dataclasses import replace
from functools import partial

import aiohttp
import pytest
from aiohttp import web
from silent_server import silent
from structlog.testing import capture_logs

from planner.clock import AcceleratedClock, WallClock
from planner.config import Config, load_profile
from planner.errors import UserError
from planner.journal import Record
from planner.metrics.past import Past
from planner.metrics.scripted import ScriptedMetrics
from planner.ports import WriteFailure
from planner.service import Ports, listening, log_tick, serve, until_signalled
from planner.warm_start import warm_start
from planner.workloads.in_memory import InMemoryWorkload
from policies.config import Slo
from policies.engine import Engine
from policies.memory import Memory
from policies.surge import QueueReading
from policies.types import Decision, Hold, HoldReason, Observation, PerRole, PoolState, Role

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


@pytest.mark.parametrize("one", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_cancels_the_work_and_lets_it_clean_up(
    one: signal.Signals, request: pytest.FixtureRequest
) -> None:
    # Under nohup the tests themselves ignore a hangup.
    request.addfinalizer(partial(signal.signal, one, signal.signal(one, signal.SIG_DFL)))
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
async def test_a_past_that_cannot_be_read_keeps_nobody_from_starting(failure: Exception) -> None:
    async def broken(*_: object) -> Past:
        raise failure

    config = config_of("http://127.0.0.1:9")
    engine = Engine(load_profile(config.profile), config.policy)
    memory = Memory(queue=QueueReading(0.0, 5.0, 3))
    with capture_logs() as logs:
        warmed = await warm_start(config, engine, memory, AcceleratedClock(), broken)
    assert warmed is memory
    assert [line["event"] for line in logs] == ["starting without the past"]


HOLD = Decision(decided_at_seconds=0.0, current=PerRole(1, 1), target=PerRole(1, 1))
RIGHT = replace(HOLD, hold=Hold(HoldReason.ALREADY_RIGHT, ""))
STALE = replace(HOLD, hold=Hold(HoldReason.METRICS_STALE, "75 s old"))


@pytest.mark.parametrize(
    ("decision", "failures", "level"),
    [
        pytest.param(RIGHT, (), "info", id="a-hold"),
        pytest.param(HOLD, (), "info", id="a-change"),
        pytest.param(STALE, (), "warning", id="blind"),
        pytest.param(HOLD, (WriteFailure(Role.DECODE, "403"),), "warning", id="not-written"),
    ],
)
def test_a_tick_that_somebody_should_look_at_is_a_warning(decision, failures, level):
    pools = PerRole.of(lambda _: PoolState(desired_replicas=1, ready_replicas=1))
    record = Record(observation=BLIND, pools=pools, decision=decision, failures=failures)
    with capture_logs() as logs:
        log_tick(record, Slo())
    assert [line["log_level"] for line in logs] == [level]
