"""A trace: a name and requests that can be streamed again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from replay.requests import Requests

CHUNK_ROWS = 65_536

Step = Callable[[Iterator[Requests]], Iterator[Requests]]


class TraceError(ValueError):
    """A trace that cannot be used; the message names file, line and field, and what is right."""


@dataclass(slots=True)
class PassCount:
    """What one pass over a file has left out so far."""

    bad_lines: int = 0
    failed_calls: int = 0
    examples: list[str] = field(default_factory=list)

    def skip(self, message: str) -> None:
        """Count one bad line; the first three messages are kept to be shown."""
        self.bad_lines += 1
        if len(self.examples) < 3:
            self.examples.append(message)


@dataclass(slots=True)
class Ledger:
    """The counts of the pass that was started last; None before the first."""

    last: PassCount | None = None

    def begin(self) -> PassCount:
        """Start counting a new pass from zero."""
        self.last = PassCount()
        return self.last

    @property
    def current(self) -> PassCount:
        """The counts of the newest pass."""
        return self.last or self.begin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests in order of arrival, in chunks of about 65,536 rows.

    Time counts in seconds from the start of the trace; in a trace read from a file that is its
    first request. `notes` says what the file itself does not: assumptions, models, repairs.
    `rescaled` gives the same traffic at a multiple of its rate where a trace knows better than
    copying or dropping requests, as one made from rates does; `expected_requests` is then the
    number of requests to come, as far as it is known.
    """

    name: str
    format: str
    source: Callable[[], Iterator[Requests]]
    notes: tuple[str, ...] = ()
    ledgers: tuple[Ledger, ...] = ()
    rescaled: Callable[[float], Trace] | None = None
    expected_requests: float | None = None

    def chunks(self) -> Iterator[Requests]:
        """Start a new pass; memory stays bounded by the chunk, not by the trace."""
        return self.source()

    @property
    def bad_lines(self) -> int | None:
        """Lines skipped by the newest pass so far; None while a file has not been read at all."""
        counts = [ledger.last for ledger in self.ledgers]
        if any(count is None for count in counts):
            return None
        return sum(count.bad_lines for count in counts if count)

    @property
    def failed_calls(self) -> int:
        """Requests that the newest pass left out because the file says they failed."""
        return sum(ledger.last.failed_calls for ledger in self.ledgers if ledger.last)

    @property
    def bad_line_examples(self) -> tuple[str, ...]:
        """What was wrong with the first lines that the newest pass skipped."""
        return tuple(m for ledger in self.ledgers if ledger.last for m in ledger.last.examples)

    def through(self, step: Step, note: str) -> Trace:
        """The same trace with every pass sent through `step`, which keeps no state between them."""
        rescaled = self.rescaled
        return replace(
            self,
            source=lambda: step(self.chunks()),
            notes=(*self.notes, note),
            rescaled=(lambda factor: rescaled(factor).through(step, note)) if rescaled else None,
            expected_requests=None,
        )


def skipped_lines(bad_lines: int | None, examples: Sequence[str]) -> list[str]:
    """Say in a few lines what a reading has left out; nothing where it has left out nothing."""
    if not bad_lines:
        return []
    more = "s" * (bad_lines > 1)
    return [
        f"  {bad_lines:,} bad line{more} skipped, the first of them:",
        *(f"    {example}" for example in examples),
    ]


def of_requests(name: str, requests: Requests) -> Trace:
    """Make a trace of requests that are already in memory."""
    if np.any(np.diff(requests.arrival_seconds) < 0):
        raise ValueError(f"trace {name!r}: arrival_seconds must never decrease")

    def source() -> Iterator[Requests]:
        for start in range(0, len(requests), CHUNK_ROWS):
            yield requests.take(slice(start, start + CHUNK_ROWS))

    return Trace(name=name, format="memory", source=source)
