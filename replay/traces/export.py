"""Our own export: plain comma-separated requests, which is also the format to bring a trace in."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from replay.requests import Requests
from replay.traces.columns import TOKENS, Count, Kind, Number, parse_columns
from replay.traces.lines import Malformed, read_lines, trace_of_file
from replay.traces.source import Source
from replay.traces.trace import Trace, TraceError

_COLUMNS = ("arrival_seconds", "input_tokens", "output_tokens")
_CACHED = "cached_tokens"


@dataclass(frozen=True, slots=True)
class Export:
    """arrival_seconds,input_tokens,output_tokens and, if any are cached, cached_tokens."""

    name: str = "csv"
    looks_for: str = f"the header {','.join(_COLUMNS)} with or without ,{_CACHED}"

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look at the first line."""
        del path
        return _fields(head) in (_COLUMNS, (*_COLUMNS, _CACHED))

    def trace(self, source: Source) -> Trace:
        """Give the requests."""
        names = _fields(source.head)
        kinds: dict[str, Kind] = {_COLUMNS[0]: Number(), _CACHED: Count()}
        columns = {name: kinds.get(name, TOKENS) for name in names}

        def parse(lines: Sequence[str]) -> Requests:
            values = parse_columns(columns, lines)
            arrivals, inputs, outputs = (values[name] for name in _COLUMNS)
            cached = values.get(_CACHED, np.zeros(len(arrivals)))
            if (cached > inputs).any():
                problem = f"{cached[0]:.0f} cached tokens of a prompt of {inputs[0]:.0f}"
                raise Malformed(_CACHED, problem, "at most input_tokens")
            return Requests(arrivals, inputs, outputs, cached)

        def read() -> Iterator[Requests]:
            return read_lines(source, parse, header_lines=1, time_field=_COLUMNS[0])

        return trace_of_file(source, self.name, read)


def _fields(head: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.strip() for name in head[0].split(","))


def write_csv(trace: Trace, path: Path | str) -> int:
    """Write a trace as CSV and return the number of requests; whole, or not at all.

    The file appears when it is complete, so a trace may be read from the path it is written to.
    """
    target = Path(path)
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise TraceError(f"{target}: cannot be written: {error.strerror}") from error
    rows = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(",".join((*_COLUMNS, _CACHED)) + "\n")
            for requests in trace.chunks():
                rows += len(requests)
                file.writelines(_rows(requests))
        Path(draft).chmod(0o644)
        Path(draft).replace(target)
    finally:
        Path(draft).unlink(missing_ok=True)
    return rows


def _rows(requests: Requests) -> Iterator[str]:
    tokens = (requests.input_tokens, requests.output_tokens, requests.cached_tokens)
    counts = (column.astype(np.int64).tolist() for column in tokens)
    for arrival, *rest in zip(requests.arrival_seconds.tolist(), *counts, strict=True):
        yield f"{arrival!r},{rest[0]},{rest[1]},{rest[2]}\n"
