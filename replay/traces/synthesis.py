"""Requests drawn from a rate over time: Poisson arrivals with given lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from replay.requests import Floats, Requests
from replay.traces.lengths import LengthLaw, lognormal_tokens
from replay.traces.trace import CHUNK_ROWS, Trace

_BLOCK_SECONDS = 600

RateAt = Callable[[Floats], Floats]
"""Requests per second at given seconds since the start; a pure function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """A rate over time and the lengths of what arrives. `factor` multiplies the rate."""

    rate_at: RateAt
    lengths: LengthLaw
    duration_seconds: float
    seed: int = 0
    factor: float = 1.0

    def chunks(self) -> Iterator[Requests]:
        """Draw the requests, ten minutes at a time; no block's draws depend on another's."""
        for block in range(math.ceil(self.duration_seconds / _BLOCK_SECONDS)):
            requests = self._block(block)
            for start in range(0, len(requests), CHUNK_ROWS):
                yield requests.take(slice(start, start + CHUNK_ROWS))

    def _block(self, block: int) -> Requests:
        random = np.random.default_rng((self.seed, block))
        seconds, lasts = self._seconds(block)
        counts = random.poisson(self.rate_at(seconds) * self.factor * lasts)
        within = random.random(counts.sum()) * np.repeat(lasts, counts)
        arrivals = np.sort(np.repeat(seconds, counts) + within)
        inputs, outputs = self.lengths(random, arrivals)
        return Requests(arrivals, inputs, outputs, np.zeros(len(arrivals)))

    def _seconds(self, block: int) -> tuple[Floats, Floats]:
        """The seconds of a block, and how much of each lies before the end."""
        end = min((block + 1) * _BLOCK_SECONDS, self.duration_seconds)
        seconds = np.arange(block * _BLOCK_SECONDS, end, dtype=np.float64)
        return seconds, np.minimum(self.duration_seconds - seconds, 1.0)

    @property
    def expected_requests(self) -> float:
        """Mean number of requests, from the rate."""
        blocks = map(self._seconds, range(math.ceil(self.duration_seconds / _BLOCK_SECONDS)))
        return self.factor * sum(float(self.rate_at(seconds) @ lasts) for seconds, lasts in blocks)

    def trace(self, name: str, kind: str, notes: tuple[str, ...] = ()) -> Trace:
        """Give the drawn requests as a trace whose rate can be scaled without copies."""

        def at_rate(factor: float) -> Trace:
            scaled = replace(self, factor=self.factor * factor)
            return scaled.trace(name, kind, (*notes, f"rates x {factor:g}"))

        return Trace(
            name=name,
            format=kind,
            source=self.chunks,
            notes=notes,
            rescaled=at_rate,
            expected_requests=self.expected_requests,
        )


@dataclass(frozen=True, slots=True)
class Load:
    """Traffic at some instants: the rate, and the mean lengths of what arrives."""

    requests_per_second: Floats
    input_tokens_mean: Floats
    output_tokens_mean: Floats


LoadAt = Callable[[Floats], Load]
"""The load at given seconds since the start; a pure function."""


def synthesis_of(
    load_at: LoadAt,
    duration_seconds: float,
    *,
    cvs: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
) -> Synthesis:
    """Draw from a load: lognormal lengths with these CVs (input, output) around its means.

    Real traffic has CVs of 0.8 to 1.5. Input and output lengths are drawn independently.
    """

    def lengths(random: np.random.Generator, arrival_seconds: Floats) -> tuple[Floats, Floats]:
        load = load_at(arrival_seconds)
        return (
            lognormal_tokens(random, load.input_tokens_mean, cvs[0]),
            lognormal_tokens(random, load.output_tokens_mean, cvs[1]),
        )

    return Synthesis(
        rate_at=lambda seconds: load_at(seconds).requests_per_second,
        lengths=lengths,
        duration_seconds=duration_seconds,
        seed=seed,
    )
