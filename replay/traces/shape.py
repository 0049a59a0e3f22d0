"""Change a trace into another: more or less of it, a part of it, it again, it with others.

Everything here streams, keeps requests in order and is deterministic by its seed; the seed, not
the chunks that a trace happens to come in, decides what is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from replay.requests import Requests
from replay.traces.order import merge, sort_within
from replay.traces.trace import CHUNK_ROWS, Trace, TraceError

JITTER_SECONDS = 3.0
_MOST_COPIES = 100_000


def scale_rate(
    trace: Trace, factor: float, *, seed: int = 0, jitter_seconds: float = JITTER_SECONDS
) -> Trace:
    """Multiply the arrivals, keeping the shape of the load over time.

    A factor of 3.4 gives the trace, two copies of it and a copy thinned to 40%; every request of a
    copy moves by up to `jitter_seconds` either way, so that copies do not arrive in lockstep. What
    is slower than that (ramps, bursts, the mix of lengths) is kept; what is faster turns into
    independent arrivals, as in the traffic of many more users. A factor below 1 thins.
    A trace made from rates is made again from the multiplied rates instead. TraceError for more
    than 100,000 copies.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"the rate can be scaled by a positive factor, not by {factor}")
    if factor == 1:
        return trace
    if trace.rescaled is not None:
        return trace.rescaled(factor)
    if factor < 1:
        return thin(trace, factor, seed=seed)
    if factor > _MOST_COPIES:
        raise TraceError(
            f"{trace.name}: rate x {factor:g} would take more than {_MOST_COPIES:,} copies of it"
        )

    def step(stream: Iterator[Requests]) -> Iterator[Requests]:
        copies = _with_copies(stream, factor, seed, jitter_seconds)
        return sort_within(copies, 2 * jitter_seconds)

    return trace.through(step, f"rate x {factor:g} by copies jittered by {jitter_seconds:g} s")


def _with_copies(
    stream: Iterator[Requests], factor: float, seed: int, jitter_seconds: float
) -> Iterator[Requests]:
    whole, share = int(factor), factor - int(factor)
    shares = [1.0] * (whole - 1) + [share] * (share > 0)
    randoms = [np.random.default_rng((seed, copy)) for copy in range(len(shares))]
    rows = max(1, CHUNK_ROWS // math.ceil(factor))
    for chunk in stream:
        for start in range(0, len(chunk), rows):
            part = chunk.take(slice(start, start + rows))
            parts = [part]
            for kept, random in zip(shares, randoms, strict=True):
                draws = random.random((len(part), 2))
                moved = part.arrival_seconds + jitter_seconds * (2 * draws[:, 0] - 1)
                copy = replace(part, arrival_seconds=np.abs(moved))
                parts.append(copy.take(draws[:, 1] < kept))
            yield Requests.concat(parts)


def thin(trace: Trace, share: float, *, seed: int = 0) -> Trace:
    """Keep each request with probability `share`."""
    if not 0 < share <= 1:
        raise ValueError(f"a trace can be thinned to a share in (0, 1], not to {share}")

    def step(stream: Iterator[Requests]) -> Iterator[Requests]:
        random = np.random.default_rng(seed)
        for chunk in stream:
            yield chunk.take(random.random(len(chunk)) < share)

    return trace.through(step, f"thinned to {share:g}")


def cut(trace: Trace, start_seconds: float, end_seconds: float) -> Trace:
    """Keep the arrivals in [start, end); the new trace's time 0 is `start_seconds`."""
    if not 0 <= start_seconds < end_seconds:
        raise ValueError(f"a cut needs 0 <= start < end, not {start_seconds} to {end_seconds}")

    def step(stream: Iterator[Requests]) -> Iterator[Requests]:
        for chunk in stream:
            first, last = np.searchsorted(chunk.arrival_seconds, (start_seconds, end_seconds))
            if last > first:
                kept = chunk.take(slice(int(first), int(last)))
                yield replace(kept, arrival_seconds=kept.arrival_seconds - start_seconds)
            if last < len(chunk):
                return

    return trace.through(step, f"cut to {start_seconds:g}-{end_seconds:g} s")


def repeat(trace: Trace, times: int, *, period_seconds: float | None = None) -> Trace:
    """Play a trace `times` times in a row, one start every `period_seconds`.

    Without a period, a repetition starts one mean gap between arrivals after the last arrival.
    """
    if times < 1:
        raise ValueError(f"a trace can be repeated 1 or more times, not {times}")

    def source() -> Iterator[Requests]:
        offset = 0.0
        for _ in range(times):
            rows, last = 0, 0.0
            for chunk in trace.chunks():
                if len(chunk):
                    rows, last = rows + len(chunk), float(chunk.arrival_seconds[-1])
                    if period_seconds is not None and last >= period_seconds:
                        raise ValueError(
                            f"an arrival at {last:g} s in a {period_seconds:g} s period"
                        )
                    yield replace(chunk, arrival_seconds=chunk.arrival_seconds + offset)
            offset += period_seconds or last * (1 + 1 / max(rows - 1, 1))

    rescaled = trace.rescaled
    return replace(
        trace,
        source=source,
        notes=(*trace.notes, f"repeated {times} times"),
        rescaled=(lambda factor: repeat(rescaled(factor), times, period_seconds=period_seconds))
        if rescaled
        else None,
        expected_requests=trace.expected_requests and times * trace.expected_requests,
    )


def mix(name: str, traces: Sequence[Trace]) -> Trace:
    """Play traces at the same time, all from their own time 0."""
    return Trace(
        name=name,
        format="mix",
        source=lambda: merge([trace.chunks() for trace in traces]),
        notes=tuple(f"{trace.name}: {note}" for trace in traces for note in trace.notes),
        ledgers=tuple(ledger for trace in traces for ledger in trace.ledgers),
        # Another seed for each, or the copies of a trace mixed with itself would coincide.
        rescaled=lambda factor: mix(
            name, [scale_rate(trace, factor, seed=place) for place, trace in enumerate(traces)]
        ),
    )
