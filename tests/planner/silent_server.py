"""Servers that take connections and never say a word, or never come to an end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Its address, and whether somebody has connected yet."""
    connected = asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def keep_silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        connected.set()

    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connected
    finally:
        for writer in writers:
            writer.close()
        server.close()


@contextlib.asynccontextmanager
async def dripping(begin: bytes, drip: bytes) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Its address, and whether the client has hung up; until then it sends `drip` without end."""
    hung_up = asyncio.Event()
    talks: set[asyncio.Task[None]] = set()

    async def talk(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(begin)
            while True:
                writer.write(drip)
                await writer.drain()
                await asyncio.sleep(0.01)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(talk(writer))
        talks.add(task)
        with contextlib.suppress(OSError):
            while await reader.read(65536):  # empty: the client has closed its side
                pass
        hung_up.set()
        task.cancel()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", hung_up
    finally:
        for task in talks:
            task.cancel()
        server.close()
