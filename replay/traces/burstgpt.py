"""BurstGPT's raw files: one call per line, in seconds of local time, failed ones included."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from replay.requests import Requests
from replay.traces.columns import TOKENS, Count, Ignored, Kind, Number, parse_columns
from replay.traces.lines import Malformed, read_lines, trace_of_file
from replay.traces.source import Source
from replay.traces.trace import Trace

_STAND_IN = (
    "doubtful: one call per second with short prompts, like a made-up file of the same name that "
    "circulates; the real BurstGPT_1.csv has 1,429,737 calls"
)
_HEADERS = (
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type",
)


@dataclass(frozen=True, slots=True)
class BurstGpt:
    """Both versions of the header. Files need not start at 0: one starts at 19440110 s."""

    name: str = "burstgpt"
    looks_for: str = f"the header {_HEADERS[0]}, or with Session ID,Elapsed time after Timestamp"

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look at the first line."""
        del path
        return head[0].strip() in _HEADERS

    def trace(self, source: Source) -> Trace:
        """Give the calls that were answered; those that failed (no response) are counted."""
        kinds: dict[str, Kind] = {
            "Timestamp": Number(),
            "Request tokens": Count(),
            "Response tokens": Count(),
        }
        columns = {name: kinds.get(name, Ignored()) for name in source.head[0].strip().split(",")}

        def parse(lines: Sequence[str]) -> Requests:
            values = parse_columns(columns, lines)
            arrivals, inputs, outputs = (values[name] for name in kinds)
            if ((inputs < 1) & (outputs > 0)).any():
                raise Malformed("Request tokens", "an answer to a prompt of 0", TOKENS.right)
            return Requests(arrivals, inputs, outputs, np.zeros(len(arrivals)))

        def read() -> Iterator[Requests]:
            for requests in read_lines(source, parse, header_lines=1, time_field="Timestamp"):
                answered = requests.output_tokens > 0
                source.ledger.current.failed_calls += int(np.sum(~answered))
                yield requests.take(answered)

        notes = ("failed calls are left out", *[_STAND_IN] * _looks_made_up(source.head))
        return trace_of_file(source, self.name, read, notes)


def _looks_made_up(head: Sequence[str]) -> bool:
    """Whether the first calls come exactly one per second, all with short prompts."""
    rows = [dict(zip(head[0].strip().split(","), row.split(","), strict=False)) for row in head[1:]]
    try:
        seconds = [float(row["Timestamp"]) for row in rows]
        inputs = [float(row["Request tokens"]) for row in rows]
    except (KeyError, ValueError):
        return False
    return (
        len(rows) > 2
        and max(inputs) < 100
        and all(b - a == 1 for a, b in itertools.pairwise(seconds))
    )
