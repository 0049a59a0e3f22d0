import asyncio
import os
import signal

import aiohttp
import pytest
from aiohttp import web

from planner.errors import UserError
from planner.service import listening, until_signalled


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
