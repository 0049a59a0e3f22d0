"""Clients of a service: each one's rate over time, and how bursty it is."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from replay.requests import Floats
from replay.traces.bundle import members
from replay.traces.columns import Kind, Number, OneOf, parse_columns
from replay.traces.gaps import stand_ins
from replay.traces.lines import read_lines
from replay.traces.order import TimedColumns
from replay.traces.source import Source
from replay.traces.trace import Ledger, TraceError

MEMBER = re.compile(r"chunk-(\d+)-trace\.csv")
_COLUMNS: dict[str, Kind] = {
    "start_seconds": Number(least=0),
    "requests_per_second": Number(least=0),
    "cv": Number(least=0),
    "fit": OneOf(("", "Gamma", "Weibull")),
    "shape": Number(least=0),
    "scale": Number(least=0),
}
_GAP_FRACTION = 0.15
"""Windows whose sum over all clients is below this share of the median hold no data: the
published series falls to zero for all clients at once, which traffic does not do."""
_LEAST_SHAPE = 0.05
"""Gaps of a smaller shape are 0 to the last digit of a float, and burstier than any client."""


@dataclass(frozen=True, slots=True)
class Windows(TimedColumns):
    """One client's windows: when each starts, the rate, and the law and shape of its gaps."""

    per_second: Floats
    fit: Floats
    shape: Floats

    @classmethod
    def parse(cls, lines: Sequence[str]) -> Windows:
        """Read lines of a client's file, which has no header."""
        values = parse_columns(_COLUMNS, lines)
        names = ("start_seconds", "requests_per_second", "fit", "shape")
        return cls(*(values[name] for name in names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """All clients. Arrays are (windows, clients); `missing` windows had no data of their own."""

    clients: tuple[int, ...]
    starts_seconds: Floats
    window_seconds: float
    per_second: Floats
    shapes: Floats
    weibull: NDArray[np.bool_]
    missing: NDArray[np.bool_]


def read_population(source: Source) -> Population:
    """Read every client's file.

    TraceError names the line that is wrong, or the client whose windows are not the others'.
    """
    clients: dict[int, Windows] = {}
    for match, text in members(source.path, MEMBER):
        clients[int(match[1])] = _read_client(source, match[0], text)
    places = sorted(clients)
    starts = clients[places[0]].arrival_seconds
    for place in places:
        if not np.array_equal(clients[place].arrival_seconds, starts):
            raise TraceError(
                f"{source.path}/chunk-{place}-trace.csv: its windows differ from those of "
                f"chunk-{places[0]}-trace.csv; expected the same {len(starts)} starts"
            )
    steps = np.unique(np.diff(starts))
    if len(steps) != 1 or steps[0] <= 0:
        raise TraceError(f"{source.path}: windows are not evenly spaced; expected one step")
    rates = np.stack([clients[place].per_second for place in places], axis=1)
    sums = rates.sum(axis=1)
    missing = sums <= _GAP_FRACTION * np.median(sums)
    if missing.all():
        raise TraceError(f"{source.path}: no client ever sends a request")
    rows = stand_ins(missing, round(86_400 / steps[0]))
    fits = np.stack([clients[place].fit for place in places], axis=1)
    shapes = np.stack([clients[place].shape for place in places], axis=1)
    return Population(
        clients=tuple(places),
        starts_seconds=starts - starts[0],
        window_seconds=float(steps[0]),
        per_second=rates[rows],
        # A window without a fit has too few requests for one: gaps as of a Poisson process.
        shapes=np.maximum(np.where(fits == 0, 1.0, shapes), _LEAST_SHAPE)[rows],
        weibull=(fits == 2)[rows],
        missing=missing,
    )


def _read_client(source: Source, name: str, text: str) -> Windows:
    member = replace(
        source,
        path=source.path / name,
        ledger=Ledger(),
        open_member=lambda: nullcontext(io.StringIO(text)),
    )
    parts = list(read_lines(member, Windows.parse, header_lines=0, time_field="start_seconds"))
    count, total = member.ledger.current, source.ledger.current
    total.bad_lines += count.bad_lines
    total.examples.extend(count.examples)
    return Windows.concat(parts)
