"""Columns of a comma-separated trace: what a field may hold, and what to say when it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from replay.requests import Floats
from replay.traces.lines import Malformed

MOST_COUNT = 1e9
_TIMESTAMP_LENGTHS = (len("2023-11-16 18:17:03"), 48)


class Kind(Protocol):
    """What a column holds."""

    @property
    def dtype(self) -> str:
        """The numpy type that the text of a whole column is first read into."""

    @property
    def right(self) -> str:
        """What the column should hold, for an error message."""

    def values(self, column: NDArray[Any]) -> Floats:
        """Turn a column into numbers; ValueError says what is wrong with one of them."""


@dataclass(frozen=True, slots=True)
class Count:
    """Whole numbers from `least` to a thousand million."""

    least: int = 0
    dtype: str = "f8"

    @property
    def right(self) -> str:
        """A whole number, and how small and large it may be."""
        return f"a whole number, {self.least} or more and at most 1e9"

    def values(self, column: NDArray[Any]) -> Floats:
        """Check that all are whole and none is too small or large."""
        for wrong, why in (
            (~np.isfinite(column), "is not a number"),
            (column < self.least, f"is less than {self.least}"),
            (column > MOST_COUNT, "is too large"),
            (column != np.floor(column), "is not whole"),
        ):
            if wrong.any():
                raise ValueError(f"{column[wrong.argmax()]:g} {why}")
        return column


TOKENS = Count(least=1)
"""A length: a request without a prompt or an answer is none that a fleet could serve."""


@dataclass(frozen=True, slots=True)
class Number:
    """Finite numbers, `least` or more."""

    least: float = -math.inf
    dtype: str = "f8"

    @property
    def right(self) -> str:
        """A number, and how small it may be."""
        return "a number" + f", {self.least:g} or more" * math.isfinite(self.least)

    def values(self, column: NDArray[Any]) -> Floats:
        """Check that all are finite and large enough."""
        if not np.isfinite(column).all() or column.min() < self.least:
            raise ValueError("not such a number")
        return column


@dataclass(frozen=True, slots=True)
class Timestamp:
    """ISO 8601 dates and times with any number of fractional digits, without zone or in UTC.

    `values` are seconds since `origin`: counted in whole nanoseconds first, because seconds since
    1970 in a float64 are good to 0.2 microseconds only.
    """

    origin: np.datetime64
    dtype: str = f"U{_TIMESTAMP_LENGTHS[1]}"
    right: str = "a UTC date and time such as 2024-05-10 00:00:00.009930+00:00"

    def values(self, column: NDArray[Any]) -> Floats:
        """Read the times; ValueError when one is malformed."""
        instants = instants_of(column)
        return np.asarray((instants - self.origin) / np.timedelta64(1, "ns") / 1e9)


@dataclass(frozen=True, slots=True)
class Instant:
    """ISO 8601 dates, with or without a time, or numbers of seconds."""

    dtype: str = "U48"
    right: str = "a UTC date and time such as 2024-05-10T00:00:00Z, or seconds"

    def values(self, column: NDArray[Any]) -> Floats:
        """Read the times as seconds since 1970, or as they are."""
        try:
            return Number().values(column.astype(np.float64))
        except ValueError:
            dates = np.strings.str_len(column) == len("2024-05-10")
            times = np.where(dates, np.strings.add(column, "T00:00:00"), column)
            return Timestamp(np.datetime64(0, "ns")).values(times)


def instants_of(column: NDArray[Any]) -> NDArray[np.datetime64]:
    """Read ISO 8601 text as instants in nanoseconds; ValueError when one is malformed."""
    plain = np.strings.rstrip(column)
    for utc in ("Z", "+00:00"):
        ends = np.strings.endswith(plain, utc)
        plain = np.where(ends, np.strings.slice(plain, None, -len(utc)), plain)
    lengths = np.strings.str_len(plain)
    if lengths.min() < _TIMESTAMP_LENGTHS[0] or lengths.max() > _TIMESTAMP_LENGTHS[1]:
        raise ValueError("no date and time")
    if (np.strings.find(plain, "+") >= 0).any() or (np.strings.count(plain, "-") > 2).any():
        raise ValueError("another time zone than UTC")
    return plain.astype("datetime64[ns]")


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some words; values are their places in the list."""

    words: tuple[str, ...]
    dtype: str = "U48"

    @property
    def right(self) -> str:
        """The words."""
        return " or ".join(word or "nothing" for word in self.words)

    def values(self, column: NDArray[Any]) -> Floats:
        """Find each word's place."""
        matches = np.stack([column == word for word in self.words])
        if not matches.any(axis=0).all():
            raise ValueError("another word")
        return np.asarray(matches.argmax(axis=0), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A column that is not needed; it still has to be there."""

    dtype: str = "U1"
    right: str = "anything"

    def values(self, column: NDArray[Any]) -> Floats:
        """Give unknowns: nothing is read."""
        return np.full(len(column), math.nan)


def parse_columns(columns: Mapping[str, Kind], lines: Sequence[str]) -> dict[str, Floats]:
    """Read lines of comma-separated fields, all at once; Malformed explains a single bad line."""
    dtype = [(name, kind.dtype) for name, kind in columns.items()]
    try:
        table = np.loadtxt(lines, dtype=dtype, delimiter=",", comments=None, ndmin=1)
        values = {name: kind.values(table[name]) for name, kind in columns.items()}
    except ValueError:
        pass
    else:
        if len(table) == len(lines):
            return values
    if len(lines) > 1:
        raise Malformed(None, "one of these lines is malformed", "none to be")
    raise _blame(columns, lines[0])


def _blame(columns: Mapping[str, Kind], line: str) -> Malformed:
    fields = line.strip().split(",")
    if len(fields) != len(columns):
        found = f"{len(fields)} field{'s' * (len(fields) != 1)}"
        return Malformed(None, found, f"{len(columns)}: {','.join(columns)}")
    for (name, kind), text in zip(columns.items(), fields, strict=True):
        try:
            kind.values(np.array([text]).astype(kind.dtype))
        except ValueError:
            why = "is empty" if not text.strip() else f"{text!r}"
            return Malformed(name, why, kind.right)
    return Malformed(None, f"unreadable text {line.strip()!r}", ",".join(columns))
