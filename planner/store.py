"""The memory of the decision on disk, so that a restart does not forget the demand."""

from __future__ import annotations

import asyncio
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

        A file that cannot be used, such as another version's, is set aside and never overwritten.
        """
        try:
            return Memory.from_json(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError) as error:
            aside = self._path.with_name(f"{self._path.name}.unusable")
            log.warning(
                "starting without memory", file=str(self._path), why=str(error), kept=str(aside)
            )
            self._path.replace(aside)
            return Memory()

    async def save(self, memory: Memory) -> None:
        """Write the memory; a failure is logged, because deciding matters more."""
        try:
            await asyncio.to_thread(self._write, memory.to_json())
        except OSError as error:
            log.warning("memory not saved", file=str(self._path), why=str(error))

    def _write(self, text: str) -> None:
        draft = self._path.with_name(f"{self._path.name}.draft")
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
