"""A line per decision for a person at a terminal."""

from __future__ import annotations

import shutil
from typing import TextIO

from planner.explain import action, explain, explain_router
from planner.journal import Record
from planner.quantities import seconds
from policies.config import Slo
from policies.types import Decision


class Terminal:
    """Writes every decision, a hold for the same reasons as the last one without them.

    On a real terminal a hold is overwritten by the next decision.
    """

    def __init__(self, stream: TextIO, slo: Slo) -> None:
        self._stream = stream
        self._slo = slo
        self._overwrites = stream.isatty()
        self._reasons: object = None

    def show(self, record: Record) -> None:
        """Write one record."""
        turn = record.router
        if turn and turn.decision.changes:
            self.say(f"{' ' * 8} {explain_router(turn.decision)}")
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
        reasons = _reasons(decision)
        known, self._reasons = reasons == self._reasons and not self._overwrites, reasons
        said = _brief(record) if known else explain(decision, self._slo, record.pools)
        return f"{hours(decision.decided_at_seconds)}  {offered}  {said}"


def _brief(record: Record) -> str:
    """The decision, and instead of reasons that stand above what was measured."""
    seen = record.observation
    measured = [
        f"{name} p95 {seconds(latency.p95_seconds)}"
        for name, latency in (("TTFT", seen.ttft), ("ITL", seen.itl))
        if latency.p95_seconds is not None
    ]
    told = f": measured {', '.join(measured)}" if measured else ""
    return action(record.decision) + told


def _reasons(decision: Decision) -> object:
    """What a hold says beyond its numbers; never the same twice for a change."""
    if decision.hold is None:
        return object()
    marks = tuple((mark.name, mark.before) for mark in decision.limiters)
    return (decision.current, decision.hold.reason, decision.binding, marks, decision.notes)


def hours(elapsed_seconds: float) -> str:
    """Write a simulated time as h:mm:ss."""
    minutes, rest = divmod(int(elapsed_seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
