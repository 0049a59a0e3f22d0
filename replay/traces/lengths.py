"""Lengths of prompts and answers, for traffic whose own are not known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from replay.requests import Floats, Requests
from replay.traces.trace import Trace, TraceError

LengthLaw = Callable[[np.random.Generator, Floats], tuple[Floats, Floats]]
"""Draws (input tokens, output tokens) for requests that arrive at the given seconds."""

LONGEST_TOKENS = 131_072
"""Drawn lengths are cut here: a lognormal has no end, a context window has."""

_RESAMPLED_REQUESTS = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LognormalLengths:
    """Independent lognormal lengths by mean and CV (standard deviation over mean)."""

    input_mean: float
    input_cv: float
    output_mean: float
    output_cv: float
    source: str

    def __call__(
        self, random: np.random.Generator, arrival_seconds: Floats
    ) -> tuple[Floats, Floats]:
        """Draw lengths that do not depend on the time."""
        inputs = np.full(len(arrival_seconds), self.input_mean)
        outputs = np.full(len(arrival_seconds), self.output_mean)
        return (
            lognormal_tokens(random, inputs, self.input_cv),
            lognormal_tokens(random, outputs, self.output_cv),
        )


def lognormal_tokens(random: np.random.Generator, mean_tokens: Floats, cv: float) -> Floats:
    """Draw whole lengths, one for each mean, at least 1."""
    sigma = math.sqrt(math.log1p(cv * cv))
    spread = np.exp(sigma * random.standard_normal(len(mean_tokens)) - sigma * sigma / 2)
    return np.clip(np.rint(mean_tokens * spread), 1, LONGEST_TOKENS)


def resampled_lengths(trace: Trace) -> LengthLaw:
    """Draw (input, output) pairs of a trace's requests, its first 200,000 at most.

    Pairs stay together, so that the correlation of prompt and answer is the trace's own.
    """
    parts: list[Requests] = []
    for chunk in trace.chunks():
        parts.append(chunk)
        if sum(map(len, parts)) >= _RESAMPLED_REQUESTS:
            break
    pool = Requests.concat(parts)
    if not len(pool):
        raise TraceError(f"trace {trace.name!r} holds no requests to take lengths from")

    def draw(random: np.random.Generator, arrival_seconds: Floats) -> tuple[Floats, Floats]:
        rows = random.integers(0, len(pool), len(arrival_seconds))
        return pool.input_tokens[rows], pool.output_tokens[rows]

    return draw


PUBLISHED: dict[str, LognormalLengths] = {
    "azure-conversation": LognormalLengths(
        input_mean=1155,
        input_cv=0.96,
        output_mean=211,
        output_cv=0.77,
        source="mean and CV of Azure 2023 conversation",
    ),
    "azure-code": LognormalLengths(
        input_mean=2048,
        input_cv=0.96,
        output_mean=28,
        output_cv=2.15,
        source="mean and CV of Azure 2023 code",
    ),
    "burstgpt-conversation": LognormalLengths(
        input_mean=700,
        input_cv=1.0,
        output_mean=330,
        output_cv=1.0,
        source="published medians of BurstGPT conversation, a CV of 1 assumed",
    ),
    "burstgpt-api": LognormalLengths(
        input_mean=310,
        input_cv=1.0,
        output_mean=37,
        output_cv=1.0,
        source="published medians of BurstGPT API calls to GPT-3.5, a CV of 1 assumed",
    ),
    "servegen-m-mid": LognormalLengths(
        input_mean=307,
        input_cv=1.47,
        output_mean=51,
        output_cv=1.12,
        source="mean and median of the ServeGen m-mid clients with published lengths",
    ),
    "mooncake-conversation": LognormalLengths(
        input_mean=12035,
        input_cv=1.31,
        output_mean=343,
        output_cv=0.73,
        source="mean and CV of Mooncake conversation",
    ),
    "deepseek-r1": LognormalLengths(
        input_mean=1268,
        input_cv=6.0,
        output_mean=1527,
        output_cv=1.65,
        source="mean and median of ServeGen deepseek-r1",
    ),
}
"""Mean and median give a lognormal's CV: (mean/median)^2 = 1 + CV^2."""
