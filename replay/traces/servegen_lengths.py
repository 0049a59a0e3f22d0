"""ServeGen's published lengths: per client and six hours, the probability of every length."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replay.requests import Floats
from replay.traces.bundle import is_bundle, member_names, members
from replay.traces.clients import Population
from replay.traces.trace import TraceError

_MEMBER = re.compile(r"chunk-(\d+)-dataset\.json")
_FIELDS = ("input_tokens", "output_tokens")
_ARCHIVES = (".tar.xz", ".tar.gz", ".tar", "")


@dataclass(frozen=True, slots=True)
class Distribution:
    """Lengths and the probabilities of lengths up to each."""

    tokens: Floats
    up_to: Floats

    def at(self, share: Floats) -> Floats:
        """Lengths at the given shares of requests."""
        rows = np.searchsorted(self.up_to, share, side="right")
        return self.tokens[np.minimum(rows, len(self.tokens) - 1)]


Pair = tuple[Distribution, Distribution]


@dataclass(frozen=True)
class ClientLengths:
    """The lengths of each client of a population, read from `path` when first drawn."""

    path: Path
    population: Population
    measured: tuple[int, ...]

    @classmethod
    def beside(cls, rates: Path, population: Population) -> ClientLengths | None:
        """Find the lengths that belong to a folder or archive of rates: in it, or beside it.

        Beside it means the same name with `dataset` for `trace`, in any archive format.
        """
        stem = rates.name.split(".")[0].replace("trace", "dataset")
        beside = [rates.with_name(stem + suffix) for suffix in _ARCHIVES]
        for path in (rates, *(path for path in beside if path != rates)):
            if not is_bundle(path):
                continue
            matches = [_MEMBER.fullmatch(name) for name in member_names(path)]
            if found := {int(match[1]) for match in matches if match} & set(population.clients):
                return cls(path, population, tuple(sorted(found)))
        return None

    @property
    def source(self) -> str:
        """Whose lengths these are, in words."""
        people = self.population
        totals = people.per_second.sum(axis=0)
        own = totals[np.isin(people.clients, self.measured)].sum() / totals.sum()
        return (
            f"measured per client for {own:.0%} of the load ({len(self.measured)} of "
            f"{len(people.clients)} clients), the others borrow theirs"
        )

    def draw(
        self, random: np.random.Generator, start_seconds: float, clients: NDArray[np.int64]
    ) -> tuple[Floats, Floats]:
        """Draw (input tokens, output tokens) of requests in the window from `start_seconds`.

        `clients` are places in the population. One without lengths of its own borrows those of
        a random other, in proportion to the load, anew in every window.
        """
        tables = self._tables
        shares = random.random((2, len(clients)))
        drawn = np.empty((2, len(clients)))
        totals = np.array([self._load_of[client] for client in tables])
        donors = random.choice(list(tables), size=len(self.population.clients), p=totals)
        order = np.argsort(clients, kind="stable")
        places, firsts = np.unique(clients[order], return_index=True)
        for place, rows in zip(places, np.split(order, firsts[1:]), strict=True):
            client = self.population.clients[place]
            table = tables.get(client) or tables[int(donors[place])]
            pair = _nearest(table, start_seconds)
            for column, distribution in enumerate(pair):
                drawn[column, rows] = distribution.at(shares[column, rows])
        return drawn[0], drawn[1]

    @cached_property
    def _load_of(self) -> dict[int, float]:
        totals = self.population.per_second.sum(axis=0)
        load = dict(zip(self.population.clients, totals.tolist(), strict=True))
        everything = sum(load[client] for client in self._tables)
        return {client: load[client] / everything for client in self._tables}

    @cached_property
    def _tables(self) -> dict[int, dict[float, Pair]]:
        """Per client, the two distributions from each time on; clients without any are left out."""
        tables = {}
        for match, text in members(self.path, _MEMBER):
            client = int(match[1])
            if client in self.measured and (table := _read(f"{self.path}/{match[0]}", text)):
                tables[client] = table
        if not tables:
            raise TraceError(f"{self.path}: holds no lengths")
        return tables


def _nearest(table: Mapping[float, Pair], start_seconds: float) -> Pair:
    """The newest distributions from before the time, else the first there are."""
    past = [time for time in table if time <= start_seconds]
    return table[max(past) if past else min(table)]


def _read(label: str, text: str) -> dict[float, Pair]:
    try:
        record = json.loads(text)
        table = {}
        for start, lengths in record.items():
            pair = tuple(_distribution(lengths[field]) for field in _FIELDS)
            if pair[0] and pair[1]:
                table[float(start)] = (pair[0], pair[1])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TraceError(
            f"{label}: unreadable lengths: {error}; expected "
            '{"0": {"input_tokens": "{224: 0.0003, ...}", "output_tokens": "{...}"}, ...}'
        ) from error
    return table


def _distribution(text: Any) -> Distribution | None:  # noqa: ANN401 - JSON holds anything
    """Read a Python dict in a string, {tokens: probability}; None for an empty one.

    Lengths of 0 are left out: some clients of m-mid have calls that were not answered.
    A literal of a hundred thousand entries is slow to evaluate and quick to split.
    """
    inside = str(text).strip().removeprefix("{").removesuffix("}").replace(":", ",")
    if not inside.strip():
        return None
    pairs = np.array(inside.split(","), dtype=np.float64).reshape(-1, 2)
    tokens, weights = pairs[np.argsort(pairs[:, 0])].T
    if weights.min() < 0 or weights.sum() <= 0 or tokens.min() < 0:
        raise ValueError("a negative length or probability")
    served = (tokens >= 1) & (weights > 0)
    if not served.any():
        return None
    tokens, weights = tokens[served], weights[served]
    return Distribution(tokens, np.cumsum(weights) / weights.sum())
