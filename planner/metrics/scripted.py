"""Observations from a list: for a dry run, and for tests of whatever consumes a source."""

from __future__ import annotations

from collections.abc import Iterable

from policies.types import Observation


class ScriptedMetrics:
    """Gives the entries in turn, then the last one for ever; an exception is raised instead."""

    def __init__(self, script: Iterable[Observation | Exception]) -> None:
        self._script = list(script)
        if not self._script:
            raise ValueError("a script needs at least one entry")

    async def observe(self, now_seconds: float) -> Observation:  # noqa: ARG002 - the script rules
        """Give the next entry."""
        entry = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(entry, Exception):
            raise entry
        return entry

    async def close(self) -> None:
        """Nothing to release."""
