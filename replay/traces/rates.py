"""Series of counts or rates over time: no requests, so these are synthesised from real rates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from replay.requests import Floats
from replay.traces.gaps import stand_ins
from replay.traces.lengths import PUBLISHED, LengthLaw
from replay.traces.lines import read_lines
from replay.traces.series import LAYOUTS, Layout, Points
from replay.traces.source import Source
from replay.traces.synthesis import Synthesis
from replay.traces.trace import Trace, TraceError


@dataclass(frozen=True, slots=True)
class Rates:
    """One window per line, all of the same length."""

    name: str = "rates"
    looks_for: str = "a series with one of the headers " + " or ".join(LAYOUTS)

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look at the first line."""
        del path
        return head[0].strip() in LAYOUTS

    def trace(self, source: Source) -> Trace:
        """Draw Poisson arrivals at the file's rates, with lengths that the file does not have.

        The series is read at once: it is small. Windows without data are filled from the same
        time on the nearest day that has it, and counted in the notes.
        """
        layout = LAYOUTS[source.head[0].strip()]
        series = source.options.series or next(iter(layout.series))
        if series not in layout.series:
            known = ", ".join(layout.series)
            raise TraceError(f"{source.path}: no series {series!r}; there is {known}")
        step, values = regular(source, layout, series)
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


def _lengths(source: Source, default: str) -> tuple[LengthLaw, str]:
    if source.options.lengths is not None:
        return source.options.lengths, "lengths as asked for"
    law = PUBLISHED[default]
    return law, f"lengths are an assumption: {default} ({law.source})"


def regular(source: Source, layout: Layout, series: str) -> tuple[float, Floats]:
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
