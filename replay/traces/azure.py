"""Azure LLM inference traces: 2023 (Splitwise) and 2024 (DynamoLLM), one request per line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from replay.requests import Requests
from replay.traces.columns import TOKENS, Kind, Timestamp, instants_of, parse_columns
from replay.traces.lines import read_lines, trace_of_file
from replay.traces.source import Source
from replay.traces.trace import Trace

_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
_ROW = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[^,]*,\d+,\d+\s*")


@dataclass(frozen=True, slots=True)
class Azure:
    """Absolute times: 2023 has seven fractional digits and no zone, 2024 is in UTC, digits vary."""

    name: str = "azure"
    looks_for: str = f"the header {_HEADER}, or rows like 2024-05-10 00:00:00.0099+00:00,2162,5"

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look at the first line."""
        del path
        return head[0].strip() == _HEADER or _ROW.fullmatch(head[0]) is not None

    def trace(self, source: Source) -> Trace:
        """Give the requests, times to 0.1 microseconds."""
        has_header = source.head[0].strip() == _HEADER
        columns: dict[str, Kind] = {
            "TIMESTAMP": Timestamp(_origin(source.head[has_header:])),
            "ContextTokens": TOKENS,
            "GeneratedTokens": TOKENS,
        }

        def parse(lines: Sequence[str]) -> Requests:
            arrivals, inputs, outputs = parse_columns(columns, lines).values()
            return Requests(arrivals, inputs, outputs, np.zeros(len(arrivals)))

        def read() -> Iterator[Requests]:
            return read_lines(source, parse, header_lines=has_header, time_field="TIMESTAMP")

        return trace_of_file(source, self.name, read)


def _origin(rows: tuple[str, ...]) -> np.datetime64:
    """Some instant near the first request, so that seconds counted from it keep their digits."""
    for row in rows:
        try:
            return np.datetime64(instants_of(np.array([row.split(",")[0]]))[0])
        except ValueError:
            continue
    return np.datetime64("2020-01-01", "ns")
