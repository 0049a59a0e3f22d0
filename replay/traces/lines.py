"""One request per line: fast in blocks, and exact about the one line that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from replay.requests import Floats, Requests
from replay.traces.order import Rows, sort_within
from replay.traces.source import Source
from replay.traces.trace import CHUNK_ROWS, PassCount, Trace, TraceError

REORDER_SECONDS = 60.0
"""Logs written when requests end are slightly out of order: an arrival up to this much earlier
than one above it is put in its place; an older one is a bad line."""

LONGEST_GAP_SECONDS = 31 * 86_400.0
"""A longer silence is taken for a wrong time, such as milliseconds among seconds."""


class Malformed(Exception):  # noqa: N818 - a finding about one line; TraceError is the error
    """Why a line cannot be read: the field (None: the whole line), what is wrong, what is right."""

    def __init__(self, field: str | None, problem: str, right: str) -> None:
        super().__init__(problem)
        self.field, self.problem, self.right = field, problem, right


R = TypeVar("R", bound=Rows)
Parse = Callable[[Sequence[str]], R]
"""Reads all given lines or raises Malformed; for a single line it must say why."""

Numbers = NDArray[np.int64]


def read_lines(
    source: Source, parse: Parse[R], *, header_lines: int, time_field: str
) -> Iterator[R]:
    """Stream a file's rows in order of arrival; times are as in the file.

    Raises TraceError at the first bad line, or counts it where the source's options skip them.
    """
    return sort_within(_parsed(source, parse, header_lines, time_field), REORDER_SECONDS)


def trace_of_file(
    source: Source, kind: str, read: Callable[[], Iterator[Requests]], notes: tuple[str, ...] = ()
) -> Trace:
    """Make a trace of what `read` streams from a file, its first request at 0.

    TraceError when the options ask for one of several series: requests are one.
    """
    if source.options.series is not None:
        raise TraceError(f"{source.path}: holds requests, no series {source.options.series!r}")
    return Trace(
        name=source.path.name.split(".")[0],
        format=kind,
        source=lambda: from_zero(read()),
        notes=notes,
        ledgers=(source.ledger,),
    )


def from_zero(stream: Iterator[Requests]) -> Iterator[Requests]:
    """Shift time so that the first request arrives at 0."""
    start: float | None = None
    for requests in stream:
        if len(requests):
            start = float(requests.arrival_seconds[0]) if start is None else start
            yield replace(requests, arrival_seconds=requests.arrival_seconds - start)


def _parsed(source: Source, parse: Parse[R], header_lines: int, time_field: str) -> Iterator[R]:
    count = source.ledger.begin()
    latest, empty = -np.inf, True
    for numbers, lines in _numbered_blocks(source, header_lines):
        pieces = list(_salvage(parse, numbers, lines, (source, count)))
        if not pieces:
            continue
        rows = np.concatenate([piece_numbers for piece_numbers, _ in pieces])
        parsed = type(pieces[0][1]).concat([piece for _, piece in pieces])
        wrong, latest = _out_of_place(latest, parsed.arrival_seconds)
        for row, why in sorted(wrong.items()):
            _complain(source, count, int(rows[row]), Malformed(time_field, *why))
        empty = False
        yield parsed.take(np.delete(np.arange(len(rows)), list(wrong))) if wrong else parsed
    if empty:
        skipped = f"; all {count.bad_lines} lines after the header are bad" * bool(count.bad_lines)
        raise TraceError(f"{source.path}: holds no requests{skipped}")


def _out_of_place(latest: float, arrivals: Floats) -> tuple[dict[int, tuple[str, str]], float]:
    """Find rows that are too early or too late for those above them; and the new latest arrival."""
    leaps = np.zeros(len(arrivals), dtype=np.bool_)
    while True:
        placed = np.where(leaps, -np.inf, arrivals)
        newest = np.maximum.accumulate(np.concatenate(([latest], placed)))
        limit = np.where(np.isfinite(newest[:-1]), newest[:-1] + LONGEST_GAP_SECONDS, np.inf)
        beyond = np.flatnonzero(placed > limit)
        if not len(beyond):
            break
        leaps[beyond[0] :] |= arrivals[beyond[0] :] > limit[beyond[0]]
    late = placed < newest[:-1] - REORDER_SECONDS
    wrong = {}
    for row in np.flatnonzero(late & ~leaps):
        problem = f"arrives {newest[row] - arrivals[row]:g} s before a request above it"
        wrong[int(row)] = (problem, f"times that go back by at most {REORDER_SECONDS:g} s")
    for row in np.flatnonzero(leaps):
        problem = f"arrives {arrivals[row] - newest[row]:g} s after the requests above it"
        wrong[int(row)] = (problem, f"times that leap by at most {LONGEST_GAP_SECONDS:g} s")
    return wrong, float(newest[-1])


def _numbered_blocks(source: Source, header_lines: int) -> Iterator[tuple[Numbers, list[str]]]:
    with source.opened() as file:
        for _ in islice(file, header_lines):
            pass
        above = header_lines
        while lines := list(islice(file, CHUNK_ROWS)):
            filled = [i for i, line in enumerate(lines) if not line.isspace()]
            numbers = np.array(filled, dtype=np.int64) + above + 1
            above += len(lines)
            if filled:
                yield numbers, lines if len(filled) == len(lines) else [lines[i] for i in filled]


def _salvage(
    parse: Parse[R], numbers: Numbers, lines: Sequence[str], where: tuple[Source, PassCount]
) -> Iterator[tuple[Numbers, R]]:
    """Parse a block at once; when it fails, halve it until the bad lines stand alone."""
    try:
        parsed = parse(lines)
    except Malformed as why:
        if len(lines) == 1:
            _complain(*where, int(numbers[0]), why)
            return
        half = len(lines) // 2
        yield from _salvage(parse, numbers[:half], lines[:half], where)
        yield from _salvage(parse, numbers[half:], lines[half:], where)
    else:
        yield numbers, parsed


def _complain(source: Source, count: PassCount, line: int, why: Malformed) -> None:
    field = f", field {why.field}" if why.field else ""
    message = f"{source.path}, line {line}{field}: {why.problem}; expected {why.right}"
    if not source.options.skip_bad_lines:
        raise TraceError(message)
    count.skip(message)
