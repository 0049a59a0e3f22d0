"""Streams in order of time: sort what is nearly sorted, merge what is sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from replay.requests import Floats, Requests


class Rows(Protocol):
    """Columns with a time of arrival."""

    @property
    def arrival_seconds(self) -> Floats:
        """When each row arrives."""

    def take(self, rows: Any) -> Self:  # noqa: ANN401 - whatever numpy can index with
        """Select rows."""

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join parts."""


R = TypeVar("R", bound=Rows)


@dataclass(frozen=True, slots=True)
class TimedColumns:
    """Columns of equal length with a time each; subclasses add columns."""

    arrival_seconds: Floats

    def take(self, rows: Any) -> Self:  # noqa: ANN401 - whatever numpy can index with
        """Select rows of every column."""
        return type(self)(*(getattr(self, column.name)[rows] for column in fields(self)))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join parts that follow each other."""
        names = [column.name for column in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def sort_within(stream: Iterable[R], seconds: float) -> Iterator[R]:
    """Sort a stream in which no row is more than `seconds` earlier than a row before it.

    Only rows that a later one may still precede are held back.
    """
    held: R | None = None
    for part in stream:
        joined = part if held is None else type(part).concat((held, part))
        order: NDArray[np.int64] = np.argsort(joined.arrival_seconds, kind="stable")
        if not len(order):
            continue
        arrivals = joined.arrival_seconds[order]
        settled = int(np.searchsorted(arrivals, arrivals[-1] - seconds, side="right"))
        if settled:
            yield joined.take(order[:settled])
        held = joined.take(order[settled:])
    if held is not None and len(held.arrival_seconds):
        yield held


def merge(streams: Sequence[Iterator[Requests]]) -> Iterator[Requests]:
    """Merge sorted streams; at equal times the earlier stream goes first."""
    fronts = [Requests.concat(())] * len(streams)
    while True:
        fronts = [
            front if len(front) else next((part for part in stream if len(part)), front)
            for front, stream in zip(fronts, streams, strict=True)
        ]
        waiting = [front.arrival_seconds[-1] for front in fronts if len(front)]
        if not waiting:
            return
        settled = [
            int(np.searchsorted(front.arrival_seconds, min(waiting), side="right"))
            for front in fronts
        ]
        joined = Requests.concat(
            front.take(slice(0, rows)) for front, rows in zip(fronts, settled, strict=True)
        )
        yield joined.take(np.argsort(joined.arrival_seconds, kind="stable"))
        fronts = [
            front.take(slice(rows, None)) for front, rows in zip(fronts, settled, strict=True)
        ]
