"""Requests as columns, so that millions stay cheap."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests in order of arrival; all columns have the same length.

    `arrival_seconds` starts anywhere and never decreases. `cached_tokens` counts the prompt
    tokens that a prefix cache already holds (0 <= cached <= input).
    """

    arrival_seconds: Floats
    input_tokens: Floats
    output_tokens: Floats
    cached_tokens: Floats

    def __len__(self) -> int:
        return len(self.arrival_seconds)

    @classmethod
    def of(
        cls,
        arrival_seconds: Iterable[float],
        input_tokens: Iterable[float],
        output_tokens: Iterable[float],
    ) -> Requests:
        """Build from plain sequences, without prefix-cache hits."""
        arrivals = np.asarray(list(arrival_seconds), dtype=np.float64)
        return cls(
            arrivals,
            np.asarray(list(input_tokens), dtype=np.float64),
            np.asarray(list(output_tokens), dtype=np.float64),
            np.zeros(len(arrivals)),
        )

    def take(self, rows: slice | NDArray[np.bool_] | NDArray[np.int64]) -> Requests:
        """Select rows of every column."""
        return Requests(
            self.arrival_seconds[rows],
            self.input_tokens[rows],
            self.output_tokens[rows],
            self.cached_tokens[rows],
        )

    @classmethod
    def concat(cls, parts: Iterable[Requests]) -> Requests:
        """Join parts that follow each other in time."""
        columns = [
            (p.arrival_seconds, p.input_tokens, p.output_tokens, p.cached_tokens) for p in parts
        ]
        if not columns:
            return cls.of((), (), ())
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))
