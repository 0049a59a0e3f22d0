"""Load as series: tables of counts or rates, clients' rates, traces counted per cell, shapes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecasting.series import Series
from planner.clock import WallClock
from planner.errors import UserError
from planner.metrics.config import MetricsConfig
from planner.metrics.past import read_past
from replay.requests import Floats
from replay.traces.clients import Population, read_population
from replay.traces.rates import regular
from replay.traces.registry import open_trace, recognised
from replay.traces.series import LAYOUTS
from replay.traces.servegen import ServeGen
from replay.traces.source import Options, Source, first_lines
from replay.traces.trace import Ledger, Trace, TraceError

CELL_SECONDS = 10.0
_RATE = frozenset({"requests_per_second"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """A named series in requests per second, from time 0 on."""

    name: str
    series: Series


def files(path: Path) -> Iterator[Path]:
    """The path itself; of a folder, every series and trace in it, whatever else is there."""
    if not path.is_dir() or ServeGen().recognises(path, first_lines(path)):
        yield path
        return
    for one in sorted(file for file in path.rglob("*") if file.is_file()):
        head = first_lines(one)
        if head and recognised(one, head):
            yield one


def recorded(path: Path) -> Iterator[Recorded]:
    """Give every series of a table, the sum of ServeGen's clients, or arrivals in cells of 10 s.

    UserError when the file is none of them, or has a line that is wrong.
    """
    try:
        head = first_lines(path)
        name = path.name.split(".")[0]
        source = Source(path=path, head=head, options=Options(), ledger=Ledger())
        if head and head[0].strip() in LAYOUTS:
            yield from _columns(name, source)
        elif ServeGen().recognises(path, head):
            yield Recorded(name, _of_all_clients(read_population(source)))
        else:
            counts = arrivals_per_cell(open_trace(path))[:-1]  # the last cell is cut off
            yield Recorded(name, Series(0.0, CELL_SECONDS, counts / CELL_SECONDS))
    except TraceError as error:
        raise UserError(str(error)) from error


def served(config: MetricsConfig, hours: float, step_seconds: float) -> Recorded:
    """Give the offered rate that a metrics server remembers, in cells of `step_seconds`.

    UserError when it remembers none, with what it said.
    """
    now = WallClock().now_seconds()
    past = asyncio.run(read_past(config, now - hours * 3600, now, step_seconds, _RATE))
    rates = [(o.observed_at_seconds, o.requests_per_second) for o in past.observations]
    known = [(at, rate) for at, rate in rates if rate is not None]
    if not known:
        why = "; ".join(past.problems) or f"no request rate of the model {config.model!r}"
        raise UserError(f"{config.url}: {why}")
    seconds, values = np.array(known).T
    cells = np.rint((seconds - seconds[0]) / step_seconds).astype(np.int64)
    series = np.full(cells[-1] + 1, np.nan)  # what the server does not remember stays unknown
    series[cells] = values
    return Recorded(config.model, Series(float(seconds[0]), step_seconds, series))


def _of_all_clients(population: Population) -> Series:
    rates = population.per_second.sum(axis=1)
    known = np.where(population.missing, np.nan, rates)
    return Series(0.0, population.window_seconds, known)


def _columns(name: str, source: Source) -> Iterator[Recorded]:
    layout = LAYOUTS[source.head[0].strip()]
    for column in layout.series:
        step, values = regular(source, layout, column)
        rates = values if layout.per_second else values / step
        full_name = name if len(layout.series) == 1 else f"{name}:{column}"
        yield Recorded(full_name, Series(0.0, step, rates))


def arrivals_per_cell(trace: Trace) -> Floats:
    """Requests in each cell of 10 s from the start of the trace."""
    counts = np.zeros(0)
    for chunk in trace.chunks():
        cells = (chunk.arrival_seconds // CELL_SECONDS).astype(np.int64)
        size = max(len(counts), int(cells.max(initial=-1)) + 1)
        longer = np.pad(counts, (0, size - len(counts)))
        counts = longer + np.bincount(cells, minlength=size)
    return counts
