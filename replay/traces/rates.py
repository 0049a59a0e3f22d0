"""Series of counts or rates over time: no requests, so these are synthesised from real rates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.requests import Floats
from replay.traces.columns import Count, Instant, Kind, Number, parse_columns
from replay.traces.gaps import stand_ins
from replay.traces.lengths import PUBLISHED
from replay.traces.lines import read_lines
from replay.traces.source import Source
from replay.traces.synthesis import Synthesis
from replay.traces.trace import Trace, TraceError


@dataclass(frozen=True, slots=True)
class Points:
    """Values at the starts of windows; NaN where the file says it has none."""

    arrival_seconds: Floats
    values: Floats

    def take(self, rows: Any) -> Points:  # noqa: ANN401 - whatever numpy indexes with
        """Select rows."""
        return Points(self.arrival_seconds[rows], self.values[rows])

    @classmethod
    def concat(cls, parts: Sequence[Points]) -> Points:
        """Join parts that follow each other."""
        return cls(
            np.concatenate([part.arrival_seconds for part in parts]),
            np.concatenate([part.values for part in parts]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of one kind of series file.

    `starts` gives the start of each window in seconds from the columns. `series` are the columns
    to choose from, the first by default, and what lengths suit them. Values are counts per window
    unless `per_second`.
    """

    columns: Mapping[str, Kind]
    starts: Callable[[Mapping[str, Floats]], Floats]
    series: Mapping[str, str]
    per_second: bool = False
    gap_column: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def header(self) -> str:
        """The first line of such a file."""
        return ",".join(self.columns)

    def points(self, series: str, lines: Iterable[str]) -> Points:
        """Read windows; one that the file marks as a gap is NaN."""
        values = parse_columns(self.columns, list(lines))
        chosen = values[series]
        if self.gap_column:
            chosen = np.where(values[self.gap_column] > 0, np.nan, chosen)
        return Points(self.starts(values), chosen)


def _days_and_hours(values: Mapping[str, Floats]) -> Floats:
    return (values["day"] * 24 + values["hour"]) * 3600


_DAY_HOUR: dict[str, Kind] = {"day": Count(), "hour": Count()}

LAYOUTS = (
    Layout(
        columns={"timestamp": Instant(), "count": Count()},
        starts=lambda values: values["timestamp"],
        series={"count": "azure-conversation"},
    ),
    Layout(
        columns={"timestamp_utc": Instant(), "requests_10min_approx": Count()},
        starts=lambda values: values["timestamp_utc"],
        series={"requests_10min_approx": "azure-conversation"},
        notes=("Azure 2024, approximate counts",),
    ),
    Layout(
        columns={**_DAY_HOUR, "date": Instant(), "conversation": Count()},
        starts=_days_and_hours,
        series={"conversation": "azure-conversation"},
        notes=("Azure 2024, hourly counts",),
    ),
    Layout(
        columns={**_DAY_HOUR, "conversation": Count(), "api": Count(), "all": Count()},
        starts=_days_and_hours,
        series={
            "all": "burstgpt-api",
            "conversation": "burstgpt-conversation",
            "api": "burstgpt-api",
        },
        notes=(
            "BurstGPT, hourly counts, failed calls included",
            "local time, zone unstated; day 0 seems to be a Wednesday",
        ),
    ),
    Layout(
        columns={
            "t_s": Number(),
            "rate_rps": Number(least=0),
            "active_clients": Count(),
            "rate_weighted_client_cv": Number(),
            "gap": Count(),
        },
        starts=lambda values: values["t_s"],
        series={"rate_rps": "servegen-m-mid"},
        per_second=True,
        gap_column="gap",
        notes=("ServeGen, sum over clients",),
    ),
)


@dataclass(frozen=True, slots=True)
class Rates:
    """One window per line, all of the same length."""

    name: str = "rates"
    looks_for: str = "a series with one of the headers " + ", ".join(
        layout.header for layout in LAYOUTS
    )

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look at the first line."""
        del path
        return _layout_of(head) is not None

    def trace(self, source: Source) -> Trace:
        """Draw Poisson arrivals at the file's rates, with lengths that the file does not have.

        The series is read at once: it is small. Windows without data are filled from the same
        time on the nearest day that has it, and counted in the notes.
        """
        layout = _layout_of(source.head)
        assert layout is not None, "recognises() was asked before"  # noqa: S101 - for the types
        series = source.options.series or next(iter(layout.series))
        if series not in layout.series:
            known = ", ".join(layout.series)
            raise TraceError(f"{source.path}: no series {series!r}; there is {known}")
        step, values = _regular(source, layout, series)
        missing = np.isnan(values)
        filled = values[stand_ins(missing, round(86_400 / step))]
        per_second = filled if layout.per_second else filled / step
        lengths, lengths_note = _lengths(source, layout.series[series])
        synthesis = Synthesis(
            rate_at=lambda seconds: per_second[(seconds / step).astype(np.int64)],
            lengths=lengths,
            duration_seconds=step * len(per_second),
            seed=source.options.seed,
        )
        notes = (
            f"synthesised from real rates: {series} per {step:g} s, Poisson arrivals",
            lengths_note,
            *layout.notes,
            *(
                [f"{missing.sum()} windows without data filled from other days"]
                * bool(missing.any())
            ),
        )
        trace = synthesis.trace(source.path.name.split(".")[0], self.name, notes)
        return replace(trace, ledgers=(source.ledger,))


def _layout_of(head: Sequence[str]) -> Layout | None:
    return next((layout for layout in LAYOUTS if head[0].strip() == layout.header), None)


def _lengths(source: Source, default: str) -> tuple[Any, str]:
    if source.options.lengths is not None:
        return source.options.lengths, "lengths as asked for"
    law = PUBLISHED[default]
    return law, f"lengths are an assumption: {default} ({law.source})"


def _regular(source: Source, layout: Layout, series: str) -> tuple[float, NDArray[np.float64]]:
    """Read the values on a regular grid, NaN where there is none; and the grid's step."""
    time_field = next(iter(layout.columns))
    parts = list(
        read_lines(
            source,
            lambda lines: layout.points(series, lines),
            header_lines=1,
            time_field=time_field,
        )
    )
    points = Points.concat(parts)
    starts = points.arrival_seconds - points.arrival_seconds[0]
    if len(starts) < 2:
        raise TraceError(f"{source.path}: one window; a series needs two or more")
    step = float(np.diff(starts).min())
    places = np.rint(starts / step) if step > 0 else starts
    if step <= 0 or np.abs(starts - places * step).max() > step / 1e3:
        raise TraceError(
            f"{source.path}, field {time_field}: times are not evenly spaced; expected windows of "
            f"one length, each once (some may be missing)"
        )
    values = np.full(int(places[-1]) + 1, np.nan)
    values[places.astype(np.int64)] = points.values
    if np.isnan(values).all():
        raise TraceError(f"{source.path}: no window has data")
    return step, values
