"""What the fleet is at one instant, as columns.

Columns are lists when the event loop runs as Python and arrays when it runs as machine code; the
loop only ever reads and writes single elements, so it does not care. Everything starts as zero:
slot 0 is nobody, status 0 is an unused replica.
"""

from __future__ import annotations

import math
from collections.abc import MutableSequence
from typing import Final, NamedTuple, TypeVar

from replay.physics import Physics, PrefixCache, Reservation, Router

Floats = MutableSequence[float]
Ints = MutableSequence[int]

NOBODY: Final = 0  # the slot that is no request
NO_REPLICA: Final = -1
NEVER: Final = math.inf

# What a replica is. GONE waits for its GPU time to be billed, then becomes ABSENT.
ABSENT, STARTING, READY, DRAINING, GONE = range(5)

# Every place with a timer and a queue is a station. The router's timer is the next arrival and
# its queue the prompts no replica has taken; the hand-off's timer is the next transfer to end and
# its queue the prefilled prompts that no decode replica has room for. Replica r of prefill is
# station 2r + 2 (its queue: its prompts), of decode 2r + 3 (its queue: KV that has landed).
ROUTER, HANDOFF = range(2)

# Elements of `State.counts` and `State.totals`.
FREE_SLOT, NEXT_ARRIVAL, ARRIVAL_ROWS, FIRST_ROWS, FINISHED_ROWS = range(5)
FLOWS, NEXT_FLOW, PREFILL_TURN, DECODE_TURN = range(5, 9)
ARRIVED, FINISHED, REFUSED, LOST, PREEMPTED = range(9, 14)
COUNTS: Final = 14
SHARED_SECONDS, MOVED_BYTES, HANDOFF_TOKENS = range(3)
TOTALS: Final = 3


class Laws(NamedTuple):
    """`Physics` flattened for the event loop."""

    prefill_base: float
    prefill_linear: float
    prefill_quadratic: float
    prefill_capacity: float
    token_budget: float
    one_at_a_time: bool
    late_binding: bool  # prompts wait at the router until a replica can start them
    in_turn: bool
    local_cache: bool
    transfer_base: float
    bytes_per_token: float
    egress: float
    ingress: float
    transfers_per_replica: int
    decode_base: float
    decode_linear: float
    decode_context: float
    decode_capacity: float
    max_sequences: int
    optimistic: bool

    @classmethod
    def of(cls, physics: Physics) -> Laws:
        """Copy the numbers."""
        prefill, transfer, decode = physics.prefill, physics.transfer, physics.decode
        return cls(
            prefill_base=float(prefill.base_seconds),
            prefill_linear=float(prefill.seconds_per_token),
            prefill_quadratic=float(prefill.seconds_per_squared_token),
            prefill_capacity=float(prefill.kv_capacity_tokens),
            token_budget=float(prefill.token_budget) or math.inf,
            one_at_a_time=prefill.token_budget == 0,
            late_binding=physics.router is Router.LEAST_LOADED,
            in_turn=physics.router is Router.ROUND_ROBIN,
            local_cache=prefill.prefix_cache is PrefixCache.LOCAL,
            transfer_base=float(transfer.base_seconds),
            bytes_per_token=float(transfer.bytes_per_token),
            egress=float(transfer.egress_bytes_per_second),
            ingress=float(transfer.ingress_bytes_per_second),
            transfers_per_replica=int(transfer.transfers_per_replica),
            decode_base=float(decode.base_seconds),
            decode_linear=float(decode.seconds_per_sequence),
            decode_context=float(decode.seconds_per_context_token),
            decode_capacity=float(decode.kv_capacity_tokens),
            max_sequences=int(decode.max_sequences),
            optimistic=decode.reservation is Reservation.OPTIMISTIC,
        )


class Stations(NamedTuple):
    """Timers and queues. `winner` is a tournament over `due_seconds`; see timers.py."""

    due_seconds: Floats
    winner: Ints
    head: Ints
    tail: Ints
    length: Ints


class Slots(NamedTuple):
    """Requests inside the fleet; `next` links the free ones and those in one queue.

    A request that has to be prefilled again counts what it has generated as input.
    """

    next: Ints
    prefill_replica: Ints
    decode_replica: Ints
    home_replica: Ints  # the prefill replica that has the cached prefix, or NO_REPLICA
    arrival_seconds: Floats
    input_tokens: Floats
    output_tokens: Floats
    cached_tokens: Floats
    generated_tokens: Floats  # before the present prefill
    prefilled_tokens: Floats
    landed_seconds: Floats
    first_token_seconds: Floats


class Prefill(NamedTuple):
    """Prefill replicas: the iteration in progress, and memory held until KV has left."""

    status: Ints
    asked_seconds: Floats
    gone_seconds: Floats
    finishing: Ints  # prompts that end with this iteration
    chunk_tokens: Floats  # of the prompt after those, which does not end with it
    prompts: Ints  # that hold memory
    pinned_tokens: Floats
    queued_tokens: Floats  # still to compute
    outgoing: Ints  # transfers on the egress link


class Decode(NamedTuple):
    """Decode replicas: the batch as of its last boundary, and what is promised to newcomers."""

    status: Ints
    asked_seconds: Floats
    gone_seconds: Floats
    incoming: Ints  # transfers on the ingress link
    sequences: Ints  # promised, in transfer, landed or in the batch
    reserved_tokens: Floats  # promised (full) or in use at the last boundary (optimistic)
    batch: Ints
    context_tokens: Floats
    iteration: Ints  # completed iterations
    boundary_seconds: Floats  # when the last of them ended
    steps: Ints  # iterations until the timer


class Ends(NamedTuple):
    """Per decode replica a binary heap of the batch by last iteration, in `max_sequences` rows."""

    iteration: Ints
    slot: Ints


class Flows(NamedTuple):
    """Transfers in progress, densely packed."""

    slot: Ints
    remaining_bytes: Floats
    bytes_per_second: Floats


class Arrivals(NamedTuple):
    """The next arrivals."""

    arrival_seconds: Floats
    input_tokens: Floats
    output_tokens: Floats
    cached_tokens: Floats
    home_draw: Floats  # uniform in [0, 1): which ready replica has the cached prefix


class FirstTokenRows(NamedTuple):
    """First tokens not yet handed to Python."""

    slot: Ints
    arrival_seconds: Floats
    first_token_seconds: Floats
    input_tokens: Floats


class FinishedRows(NamedTuple):
    """Finished requests not yet handed to Python."""

    arrival_seconds: Floats
    finished_seconds: Floats
    first_token_seconds: Floats
    input_tokens: Floats
    output_tokens: Floats


class State(NamedTuple):
    """The whole fleet."""

    counts: Ints
    totals: Floats
    stations: Stations
    slots: Slots
    prefill: Prefill
    decode: Decode
    ends: Ends
    flows: Flows
    arrivals: Arrivals
    first_tokens: FirstTokenRows
    finished: FinishedRows


Columns = TypeVar("Columns", bound=NamedTuple)


def prefill_station(replica: int) -> int:
    """Where a prefill replica's timer and queue are."""
    return 2 * replica + 2


def decode_station(replica: int) -> int:
    """Where a decode replica's timer and queue are."""
    return 2 * replica + 3


def take_slot(state: State) -> int:
    """Remove and return a free slot; the caller has made sure that there is one."""
    slot = state.counts[FREE_SLOT]
    state.counts[FREE_SLOT] = state.slots.next[slot]
    state.slots.next[slot] = NOBODY
    return slot


def free_slot(state: State, slot: int) -> None:
    """Make a slot free for another request."""
    state.slots.next[slot] = state.counts[FREE_SLOT]
    state.counts[FREE_SLOT] = slot


def push(state: State, station: int, slot: int) -> None:
    """Append a request to a station's queue."""
    stations, following = state.stations, state.slots.next
    following[slot] = NOBODY
    if stations.length[station] == 0:
        stations.head[station] = slot
    else:
        following[stations.tail[station]] = slot
    stations.tail[station] = slot
    stations.length[station] += 1


def pop(state: State, station: int) -> int:
    """Remove and return the request at the front of a queue that is not empty."""
    stations = state.stations
    slot = stations.head[station]
    stations.head[station] = state.slots.next[slot]
    stations.length[station] -= 1
    return slot


def retire_if_draining(pool: Prefill | Decode, replica: int, now: float) -> None:
    """Let a replica that holds no work go, if it was asked to."""
    if pool.status[replica] == DRAINING:
        pool.status[replica] = GONE
        pool.gone_seconds[replica] = now
