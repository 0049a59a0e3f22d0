"""The formats there are, and the one way to open a trace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from replay.traces.azure import Azure
from replay.traces.bailian import Bailian
from replay.traces.burstgpt import BurstGpt
from replay.traces.closed_loop import ClosedLoop
from replay.traces.export import Export
from replay.traces.mooncake import Mooncake
from replay.traces.observed import Observed
from replay.traces.rates import Rates
from replay.traces.servegen import ServeGen
from replay.traces.source import Format, Options, Source, first_lines
from replay.traces.trace import Ledger, Trace, TraceError

FORMATS: tuple[Format, ...] = (
    Azure(),
    Export(),
    Mooncake(),
    Bailian(),
    BurstGpt(),
    Rates(),
    ServeGen(),
    ClosedLoop(),
    Observed(),
)


def open_trace(
    path: Path | str, *, skip_bad_lines: bool = False, options: Options | None = None
) -> Trace:
    """Recognise a file's format from its content and give its trace; nothing is read ahead.

    TraceError when the file is unreadable, empty or of no known format; a bad line raises it
    during a pass, unless `skip_bad_lines` counts them instead (`Trace.bad_lines`).
    """
    path = Path(path)
    options = options or Options()
    if skip_bad_lines:
        options = replace(options, skip_bad_lines=True)
    head = first_lines(path)
    if not head:
        raise TraceError(f"{path}: is empty; expected a trace with one request per line")
    if form := recognised(path, head):
        return form.trace(Source(path=path, head=head, options=options, ledger=Ledger()))
    known = "\n".join(f"  {form.name}: {form.looks_for}" for form in FORMATS)
    raise TraceError(
        f"{path}: no known trace format; it starts with {head[0][:80]!r}. Looked for:\n{known}"
    )


def recognised(path: Path, head: tuple[str, ...]) -> Format | None:
    """The format of a file that starts with the lines `head`; None when it is none of ours."""
    return next((form for form in FORMATS if form.recognises(path, head)), None)
