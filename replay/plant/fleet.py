"""Replicas come and go: what a workload's replica count does to a state. Not in the event loop."""

from __future__ import annotations

from collections.abc import Iterator

from policies.types import Role
from replay.plant.prefill import holds_nothing
from replay.plant.state import (
    ABSENT,
    DRAINING,
    FLOWS,
    GONE,
    NEVER,
    READY,
    SHARED_SECONDS,
    STARTING,
    Decode,
    Prefill,
    State,
    decode_station,
    prefill_station,
    retire_if_draining,
)
from replay.plant.timers import set_timer


def pool_of(state: State, role: Role) -> Prefill | Decode:
    """The replicas of one role."""
    return state.prefill if role is Role.PREFILL else state.decode


def station_of(role: Role, replica: int) -> int:
    """Where a replica's timer and queue are."""
    return prefill_station(replica) if role is Role.PREFILL else decode_station(replica)


def replicas_that_are(state: State, role: Role, *statuses: int) -> list[int]:
    """The replicas with one of these statuses, oldest first."""
    pool = pool_of(state, role)
    found = [r for r, status in enumerate(pool.status) if status in statuses]
    return sorted(found, key=lambda r: (pool.asked_seconds[r], r))


def absent_replica(state: State, role: Role) -> int | None:
    """A place for a new replica, None if there is none left."""
    return next(iter(replicas_that_are(state, role, ABSENT)), None)


def start(state: State, role: Role, replica: int, now: float, delay_seconds: float) -> None:
    """Ask for a replica that will be ready after the delay."""
    pool = pool_of(state, role)
    pool.status[replica] = STARTING
    pool.asked_seconds[replica] = now
    set_timer(state.stations, station_of(role, replica), now + delay_seconds)


def cancel(state: State, role: Role, replica: int, now: float) -> None:
    """Give up a replica that is starting."""
    pool = pool_of(state, role)
    pool.status[replica] = GONE
    pool.gone_seconds[replica] = now
    set_timer(state.stations, station_of(role, replica), NEVER)


def drain(state: State, role: Role, replica: int, now: float) -> None:
    """Give a replica no new work; it goes when what it has is done."""
    pool = pool_of(state, role)
    pool.status[replica] = DRAINING
    empty = (
        holds_nothing(state, replica)
        if role is Role.PREFILL
        else state.decode.sequences[replica] == 0
    )
    if empty:
        retire_if_draining(pool, replica, now)


def bill_gone(state: State, role: Role) -> Iterator[float]:
    """Free the places of replicas that have gone; yield how long each was there, in seconds."""
    pool = pool_of(state, role)
    for replica in replicas_that_are(state, role, GONE):
        pool.status[replica] = ABSENT
        yield float(pool.gone_seconds[replica] - pool.asked_seconds[replica])


def unbilled_seconds(state: State, role: Role, now: float) -> float:
    """How long all replicas that `bill_gone` has not told yet have been there, together."""
    pool = pool_of(state, role)
    going = replicas_that_are(state, role, GONE)
    present = replicas_that_are(state, role, STARTING, READY, DRAINING)
    ends = sum(float(pool.gone_seconds[r]) for r in going) + now * len(present)
    return ends - sum(float(pool.asked_seconds[r]) for r in going + present)


def unmoved_bytes(state: State, now: float) -> float:
    """What the transfers in progress have yet to move."""
    flows = state.flows
    elapsed = now - state.totals[SHARED_SECONDS]
    return sum(
        max(0.0, flows.remaining_bytes[flow] - flows.bytes_per_second[flow] * elapsed)
        for flow in range(state.counts[FLOWS])
    )
