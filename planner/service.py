"""What runs around the loop: the API's listener, the ports' connections, and the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from errno import EADDRINUSE

from aiohttp import web

from planner.errors import UserError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve `app` while the block runs; yields its address, which names the port really taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            busy = "it is in use" if error.errno == EADDRINUSE else error.strerror
            raise UserError(
                f"cannot listen on {host}:{port}: {busy}; choose another port"
            ) from None
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until_signalled(work: Coroutine[None, None, None]) -> bool:
    """Run `work`; SIGINT or SIGTERM cancels it. Return whether it ended by itself."""
    task = asyncio.ensure_future(work)
    events = asyncio.get_running_loop()
    signalled = asyncio.Event()

    def stop() -> None:
        signalled.set()
        task.cancel()

    for one in _SIGNALS:
        events.add_signal_handler(one, stop)
    try:
        await task
    except asyncio.CancelledError:
        if not signalled.is_set():
            raise
    finally:
        for one in _SIGNALS:
            events.remove_signal_handler(one)
    return not signalled.is_set()
