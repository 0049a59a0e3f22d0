"""Making and growing the columns of a state, as lists or as arrays."""

from __future__ import annotations

from typing import Any, TypeVar, get_type_hints

import numpy as np

from replay.plant.state import (
    COUNTS,
    FREE_SLOT,
    NEVER,
    TOTALS,
    Arrivals,
    Decode,
    Ends,
    FinishedRows,
    FirstTokenRows,
    Flows,
    Ints,
    Laws,
    Prefill,
    Slots,
    State,
    Stations,
)
from replay.plant.timers import replay_all
from replay.requests import Floats, Requests

Group = TypeVar("Group", bound=tuple[Any, ...])

_FIRST_SLOTS = 256
_ROWS = 4096  # outcomes kept before they are handed over; more only saves calls


class Storage:
    """How columns are kept: lists are quickest for Python, machine code needs arrays."""

    def __init__(self, *, arrays: bool) -> None:
        self._arrays = arrays

    def column(self, kind: object, length: int) -> Any:  # noqa: ANN401 - a list or an array
        """A column of zeros."""
        if self._arrays:
            return np.zeros(length, dtype=np.int64 if kind == Ints else np.float64)
        return [0 if kind == Ints else 0.0] * length

    def columns(self, group: type[Group], length: int) -> Group:
        """A group of columns of equal length, all zero."""
        return group(*(self.column(kind, length) for kind in get_type_hints(group).values()))

    def grown(self, columns: Group, length: int) -> Group:
        """The same columns, with zeros appended up to `length`."""
        bigger = self.columns(type(columns), length)
        for new, old in zip(bigger, columns, strict=True):
            new[: len(old)] = old
        return bigger

    def arrivals(self, requests: Requests, home_draws: Floats) -> Arrivals:
        """The columns of `requests`, and a uniform draw for each."""
        columns = (
            requests.arrival_seconds,
            requests.input_tokens,
            requests.output_tokens,
            requests.cached_tokens,
            home_draws,
        )
        if self._arrays:
            return Arrivals(*(np.array(column, dtype=np.float64) for column in columns))  # type: ignore[arg-type]
        return Arrivals(*(column.tolist() for column in columns))

    def empty_state(self, laws: Laws) -> State:
        """A fleet without replicas or requests."""
        rows = _ROWS + laws.max_sequences
        state = State(
            counts=self.column(Ints, COUNTS),
            totals=self.column(None, TOTALS),
            stations=self.columns(Stations, 0),
            slots=self.columns(Slots, 1),
            prefill=self.columns(Prefill, 0),
            decode=self.columns(Decode, 0),
            ends=self.columns(Ends, 0),
            flows=self.columns(Flows, 0),
            arrivals=self.columns(Arrivals, 0),
            first_tokens=self.columns(FirstTokenRows, rows),
            finished=self.columns(FinishedRows, rows),
        )
        return self.with_replicas(self.with_slots(state, _FIRST_SLOTS), laws, 1)

    def with_slots(self, state: State, slots: int) -> State:
        """The same fleet with room for `slots` - 1 requests."""
        before = len(state.slots.next)
        state = state._replace(slots=self.grown(state.slots, slots))
        for slot in range(before, slots):
            state.slots.next[slot] = state.counts[FREE_SLOT]
            state.counts[FREE_SLOT] = slot
        return state

    def with_replicas(self, state: State, laws: Laws, replicas: int) -> State:
        """The same fleet with room for that many replicas of each role."""
        before = len(state.stations.due_seconds)
        stations = self.grown_stations(state.stations, 2 * replicas + 2)
        for station in range(before, len(stations.due_seconds)):
            stations.due_seconds[station] = NEVER
        replay_all(stations)
        return state._replace(
            stations=stations,
            prefill=self.grown(state.prefill, replicas),
            decode=self.grown(state.decode, replicas),
            ends=self.grown(state.ends, replicas * laws.max_sequences),
            flows=self.grown(state.flows, replicas * laws.transfers_per_replica),
        )

    def grown_stations(self, stations: Stations, count: int) -> Stations:
        """The same stations and more, in a number that fills a binary tree."""
        leaves = 1 << (count - 1).bit_length()
        bigger = self.grown(stations, leaves)
        return bigger._replace(winner=self.column(Ints, 2 * leaves))
