"""A trace in the form that Dynamo's replay reads, and what its engines must know of it."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from replay.requests import Requests
from replay.traces import Trace

# Prefixes are named, and KV memory is given out, in blocks of this many tokens.
BLOCK_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What was written. Dynamo counts time from the first arrival, we from the trace's zero.

    `squared_tokens` sums (h+n)^2 - h^2 over prompts with n new tokens after h cached ones.
    """

    requests: int = 0
    first_seconds: float = 0.0
    last_seconds: float = 0.0
    longest_prompt_tokens: int = 1
    input_tokens: float = 0.0
    new_tokens: float = 0.0
    squared_tokens: float = 0.0

    @property
    def has_prefix_hits(self) -> bool:
        """Whether any prompt token was cached before its request arrived."""
        return self.new_tokens < self.input_tokens

    def joined(self, later: Workload) -> Workload:
        """Add what follows of the same trace."""
        return Workload(
            requests=self.requests + later.requests,
            first_seconds=self.first_seconds if self.requests else later.first_seconds,
            last_seconds=later.last_seconds,
            longest_prompt_tokens=max(self.longest_prompt_tokens, later.longest_prompt_tokens),
            input_tokens=self.input_tokens + later.input_tokens,
            new_tokens=self.new_tokens + later.new_tokens,
            squared_tokens=self.squared_tokens + later.squared_tokens,
        )

    @classmethod
    def of(cls, requests: Requests) -> Workload:
        """Sum up one chunk, which is not empty."""
        inputs, new = requests.input_tokens, requests.input_tokens - requests.cached_tokens
        return cls(
            requests=len(requests),
            first_seconds=float(requests.arrival_seconds[0]),
            last_seconds=float(requests.arrival_seconds[-1]),
            longest_prompt_tokens=int(np.ceil(inputs.max())),
            input_tokens=float(inputs.sum()),
            new_tokens=float(new.sum()),
            squared_tokens=float((inputs**2 - requests.cached_tokens**2).sum()),
        )


def write(trace: Trace, path: Path) -> Workload:
    """Write a trace as JSON lines, with block ids that let Dynamo find the same prefix hits.

    Our requests know how much of a prompt was cached, not what it says. So the cached blocks of
    every prompt are the first ones of one endless document that each replica soon knows, and its
    other blocks are met only once: 200 cached tokens of 300 are blocks 0, 1 and 2 of the document
    and two new ones, so a hit is rounded down to whole blocks.
    """
    written = Workload()
    new_ids = itertools.count(1 << 40)
    with path.open("w", encoding="utf-8") as file:
        for chunk in trace.chunks():
            if not len(chunk):
                continue
            written = written.joined(Workload.of(chunk))
            columns = (
                chunk.arrival_seconds,
                chunk.input_tokens,
                chunk.output_tokens,
                chunk.cached_tokens,
            )
            for arrival, inputs, outputs, cached in zip(
                *(column.tolist() for column in columns), strict=True
            ):
                known = int(cached) // BLOCK_TOKENS
                blocks = -(-max(1, round(inputs)) // BLOCK_TOKENS)
                ids = [*range(known), *itertools.islice(new_ids, blocks - known)]
                record = {
                    "timestamp": 1000.0 * arrival,
                    "input_length": max(1, round(inputs)),
                    "output_length": max(1, round(outputs)),
                    "hash_ids": ids,
                }
                file.write(json.dumps(record) + "\n")
    return written
