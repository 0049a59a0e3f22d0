"""The memory of the decision on disk, so that a restart does not forget the demand."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import structlog

from policies.memory import Memory

log = structlog.get_logger(__name__)


class MemoryStore:
    """One JSON file, replaced atomically: a reader finds the old memory or the new, never half."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> Memory:
        """Read the memory; empty at the first start.

        A file that cannot be used, such as another version's, is set aside and not overwritten.
        """
        try:
            return _memory_in(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Memory()
        except Exception as error:  # noqa: BLE001 - whatever is in a file must not end a start
            log.warning("starting without memory", file=str(self._path), why=str(error))
        self._set_aside()
        return Memory()

    def _set_aside(self) -> None:
        aside = self._path.with_name(f"{self._path.name}.unusable")
        try:
            self._path.replace(aside)
        except OSError as error:
            log.warning(
                "the unusable memory stays where it is", file=str(self._path), why=str(error)
            )
        else:
            log.warning("the unusable memory is kept", file=str(aside))

    async def save(self, memory: Memory) -> None:
        """Write the memory; a failure is logged, because deciding matters more."""
        try:
            await asyncio.to_thread(self._write, memory.to_json())
        except (OSError, ValueError) as error:
            log.warning("memory not saved", file=str(self._path), why=str(error))

    def _write(self, text: str) -> None:
        draft = self._path.with_name(f"{self._path.name}.draft")
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)


def _memory_in(text: str) -> Memory:
    """The memory that the text holds; ValueError where it is a file of something else."""
    memory = Memory.from_json(text)
    if "version" not in json.loads(text):  # every key has a default, so any object would do
        raise ValueError("not a planner memory: it has no version")
    if not len(memory.seconds) == len(memory.loads) == len(memory.arrivals):
        raise ValueError("not a planner memory: its times and loads are not as many")
    return memory
