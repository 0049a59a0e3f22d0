"""Requests drawn from a load over time: Poisson arrivals, lognormal lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from replay.requests import Floats, Requests
from replay.traces.trace import CHUNK_ROWS, Trace

_BLOCK_SECONDS = 600
_LONGEST_TOKENS = 131_072
"""Lengths are cut here: a lognormal has no end, a context window has."""


@dataclass(frozen=True, slots=True)
class Load:
    """Traffic at some instants: the rate, and the mean lengths of what arrives."""

    requests_per_second: Floats
    input_tokens_mean: Floats
    output_tokens_mean: Floats


LoadAt = Callable[[Floats], Load]
"""The load at given seconds since the start; a pure function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """A load over time and how requests vary around it.

    `input_cv` and `output_cv` are the spread of lengths (standard deviation over mean) at one
    instant; 0.8 to 1.5 is what real traffic has. Input and output lengths are independent.
    """

    load_at: LoadAt
    duration_seconds: float
    input_cv: float = 1.0
    output_cv: float = 1.0
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
        start = block * _BLOCK_SECONDS
        seconds = np.arange(start, min(start + _BLOCK_SECONDS, self.duration_seconds))
        load = self.load_at(seconds.astype(np.float64))
        lasts = np.minimum(self.duration_seconds - seconds, 1.0)
        counts = random.poisson(load.requests_per_second * self.factor * lasts)
        arrivals = np.repeat(seconds, counts) + random.random(counts.sum()) * np.repeat(
            lasts, counts
        )
        return Requests(
            np.sort(arrivals),
            lognormal_tokens(random, np.repeat(load.input_tokens_mean, counts), self.input_cv),
            lognormal_tokens(random, np.repeat(load.output_tokens_mean, counts), self.output_cv),
            np.zeros(len(arrivals)),
        )

    def trace(self, name: str, *notes: str) -> Trace:
        """Give the drawn requests as a trace whose rate can be scaled without copies."""

        def at_rate(factor: float) -> Trace:
            scaled = Synthesis(
                load_at=self.load_at,
                duration_seconds=self.duration_seconds,
                input_cv=self.input_cv,
                output_cv=self.output_cv,
                seed=self.seed,
                factor=self.factor * factor,
            )
            return scaled.trace(name, *notes, f"rates x {factor:g}")

        return Trace(
            name=name, format="generated", source=self.chunks, notes=notes, rescaled=at_rate
        )


def lognormal_tokens(random: np.random.Generator, mean_tokens: Floats, cv: float) -> Floats:
    """Draw whole lengths, one for each mean, at least 1."""
    sigma = math.sqrt(math.log1p(cv * cv))
    spread = np.exp(sigma * random.standard_normal(len(mean_tokens)) - sigma * sigma / 2)
    return np.clip(np.rint(mean_tokens * spread), 1, _LONGEST_TOKENS)
