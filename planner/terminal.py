"""A line per decision for a person at a terminal."""

from __future__ import annotations

import shutil
from typing import TextIO

from planner.explain import explain
from planner.journal import Record
from policies.config import Slo


class Terminal:
    """Writes every decision; on a real terminal a hold is overwritten by the next decision."""

    def __init__(self, stream: TextIO, slo: Slo) -> None:
        self._stream = stream
        self._slo = slo
        self._overwrites = stream.isatty()

    def show(self, record: Record) -> None:
        """Write one record."""
        line = self._line(record)
        if not self._overwrites:
            self.say(line)
        elif record.decision.changes:
            self.say(f"\r\x1b[K{line}")
        else:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{line[:width]}")
            self._stream.flush()

    def say(self, text: str = "") -> None:
        """Write text that stays."""
        print(text, file=self._stream, flush=True)

    def _line(self, record: Record) -> str:
        decision, rate = record.decision, record.observation.requests_per_second
        offered = "rate unknown" if rate is None else f"{rate:6.2f} req/s"
        return f"{hours(decision.decided_at_seconds)}  {offered}  {explain(decision, self._slo)}"


def hours(seconds: float) -> str:
    """Write a simulated time as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
