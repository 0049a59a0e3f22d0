"""Queries for the samples of counters themselves, which tell how bursty arrivals are."""

from __future__ import annotations

from collections.abc import Sequence

from planner.metrics.history import Point
from planner.metrics.vector import Sample, Vector
from policies.dispersion import dispersion

# The one signal that may be asked for so. Another query for it gives its number itself.
SIGNAL = "arrival_dispersion"


def is_sampled(query: str) -> bool:
    """Whether a query is a range selector, such as `counter{model="m"}[300s]`.

    `rate()` would not do: it extrapolates, and neighbouring ones share most of their samples.
    """
    return query.rstrip().endswith("]")


def check_use(signal: str, query: str) -> None:
    """ValueError if a signal that is a number is asked for by samples."""
    if is_sampled(query) and signal != SIGNAL:
        raise ValueError(f"samples over a time are no number; only {SIGNAL} is read from them")


def answer(counters: Sequence[Sequence[Point]]) -> Vector:
    """One number, the dispersion of what the counters count together; empty if unknown."""
    found = dispersion(counters)
    return () if found is None else (Sample({}, found),)
