"""Decode replicas: continuous batching, without stepping through every token.

Each iteration gives every sequence of the batch one token and makes its context one longer. With
B sequences and C context tokens in the first of them, iteration i (from 0) takes

    first + i * growth,  first = base + linear*B + context*C,  growth = context*B,

so j iterations take j*first + growth*j*(j-1)/2. Nothing else happens between two changes of the
batch, and a batch changes only at an iteration's end; so a replica needs a timer only for the
end at which a sequence is finished or a landed one may join. That is exact, not an approximation.
"""

from __future__ import annotations

import math

from replay.plant.state import (
    FINISHED,
    FINISHED_ROWS,
    FIRST_ROWS,
    NEVER,
    NOBODY,
    Laws,
    State,
    decode_station,
    free_slot,
    pop,
    push,
)
from replay.plant.timers import set_timer


def land(state: State, laws: Laws, slot: int, now: float) -> None:
    """Let a request whose last byte has left wait, from when it lands, for the next iteration."""
    replica = state.slots.decode_replica[slot]
    station = decode_station(replica)
    state.slots.landed_seconds[slot] = now + laws.transfer_base
    push(state, station, slot)
    if state.stations.length[station] == 1:  # else an earlier one has set the timer
        schedule(state, laws, replica)


def first_seconds(state: State, laws: Laws, replica: int) -> float:
    """How long the next iteration takes."""
    decode = state.decode
    return (
        laws.decode_base
        + laws.decode_linear * decode.batch[replica]
        + laws.decode_context * decode.context_tokens[replica]
    )


def span(first: float, growth: float, steps: int) -> float:
    """How long `steps` iterations take."""
    return steps * first + growth * (0.5 * steps * (steps - 1))


def steps_to_cover(first: float, growth: float, seconds: float) -> int:
    """The fewest iterations, at least 1, that take `seconds` or longer."""
    half = 0.5 * growth
    slope = first - half
    root = 2.0 * seconds / (slope + math.sqrt(slope * slope + 4.0 * half * seconds))
    steps = max(1, math.ceil(root))
    # The closed form may be off by one in its last bits; `span` decides.
    while steps > 1 and span(first, growth, steps - 1) >= seconds:
        steps -= 1
    while span(first, growth, steps) < seconds:
        steps += 1
    return steps


def schedule(state: State, laws: Laws, replica: int) -> None:
    """Set the timer to the next iteration's end at which the batch changes."""
    decode, stations = state.decode, state.stations
    station = decode_station(replica)
    landing = stations.head[station]
    if decode.batch[replica] == 0:
        decode.steps[replica] = 0
        due = NEVER if landing == NOBODY else state.slots.landed_seconds[landing]
        set_timer(stations, station, due)
        return
    first = first_seconds(state, laws, replica)
    growth = laws.decode_context * decode.batch[replica]
    began = decode.boundary_seconds[replica]
    steps = state.ends.iteration[replica * laws.max_sequences] - decode.iteration[replica]
    if landing != NOBODY:
        wait = state.slots.landed_seconds[landing] - began
        # Only a wait that ends before the first finish needs the inverse of the span.
        if wait <= span(first, growth, steps - 1):
            steps = steps_to_cover(first, growth, wait)
    decode.steps[replica] = steps
    set_timer(stations, station, began + span(first, growth, steps))


def advance_batch(state: State, replica: int, now: float) -> None:
    """Complete the iterations that the timer stood for; `now` is the end of the last of them."""
    decode = state.decode
    decode.iteration[replica] += decode.steps[replica]
    decode.context_tokens[replica] += decode.batch[replica] * decode.steps[replica]
    decode.boundary_seconds[replica] = now


def finish_due(state: State, laws: Laws, replica: int, now: float) -> int:
    """Take every finished sequence out of the batch; return how many there were."""
    decode, ends = state.decode, state.ends
    top = replica * laws.max_sequences
    finished = 0
    while decode.batch[replica] > 0 and ends.iteration[top] <= decode.iteration[replica]:
        finish(state, replica, ends.slot[top], now)
        pop_end(state, laws, replica)
        finished += 1
    return finished


def finish(state: State, replica: int, slot: int, now: float) -> None:
    """Record a finished request and give back what it held."""
    decode, slots, rows = state.decode, state.slots, state.finished
    tokens = slots.input_tokens[slot] + slots.output_tokens[slot]
    decode.context_tokens[replica] -= tokens
    decode.reserved_tokens[replica] -= tokens
    decode.sequences[replica] -= 1
    if decode.sequences[replica] == 0:
        decode.reserved_tokens[replica] = 0.0  # without the rounding that is left
    row = state.counts[FINISHED_ROWS]
    rows.arrival_seconds[row] = slots.arrival_seconds[slot]
    rows.finished_seconds[row] = now
    rows.first_token_seconds[row] = slots.first_token_seconds[slot]
    rows.input_tokens[row] = slots.input_tokens[slot]
    rows.output_tokens[row] = slots.output_tokens[slot]
    state.counts[FINISHED_ROWS] = row + 1
    state.counts[FINISHED] += 1
    free_slot(state, slot)


def join_landed(state: State, laws: Laws, replica: int, now: float) -> None:
    """Let everything that has landed join the batch; its first token ends the next iteration."""
    decode, slots, stations = state.decode, state.slots, state.stations
    station = decode_station(replica)
    if stations.length[station] == 0:
        return
    joined = 0
    slot = stations.head[station]
    while slot != NOBODY and slots.landed_seconds[slot] <= now:
        decode.batch[replica] += 1
        decode.context_tokens[replica] += slots.input_tokens[slot]
        joined += 1
        slot = slots.next[slot]
    first_token = now + first_seconds(state, laws, replica)
    for _ in range(joined):
        slot = pop(state, station)
        slots.first_token_seconds[slot] = first_token
        last = decode.iteration[replica] + int(slots.output_tokens[slot])
        push_end(state, laws, replica, last, slot, decode.batch[replica] - joined)
        joined -= 1
        record_first_token(state, slot)


def record_first_token(state: State, slot: int) -> None:
    """Note a first token, which is up to one iteration ahead of now."""
    slots, rows = state.slots, state.first_tokens
    row = state.counts[FIRST_ROWS]
    rows.arrival_seconds[row] = slots.arrival_seconds[slot]
    rows.first_token_seconds[row] = slots.first_token_seconds[slot]
    rows.input_tokens[row] = slots.input_tokens[slot]
    state.counts[FIRST_ROWS] = row + 1


def push_end(state: State, laws: Laws, replica: int, iteration: int, slot: int, size: int) -> None:
    """Add a sequence to the replica's heap, which holds `size`."""
    ends = state.ends
    base = replica * laws.max_sequences
    place = size
    while place > 0:
        parent = (place - 1) >> 1
        if ends.iteration[base + parent] <= iteration:
            break
        ends.iteration[base + place] = ends.iteration[base + parent]
        ends.slot[base + place] = ends.slot[base + parent]
        place = parent
    ends.iteration[base + place] = iteration
    ends.slot[base + place] = slot


def pop_end(state: State, laws: Laws, replica: int) -> None:
    """Remove the first to finish from the replica's heap and from its batch."""
    ends = state.ends
    base = replica * laws.max_sequences
    size = state.decode.batch[replica] - 1
    state.decode.batch[replica] = size
    if size == 0:
        state.decode.context_tokens[replica] = 0.0
    iteration = ends.iteration[base + size]
    slot = ends.slot[base + size]
    place = 0
    child = 1
    while child < size:
        right = child + 1
        if right < size and ends.iteration[base + right] < ends.iteration[base + child]:
            child = right
        if iteration <= ends.iteration[base + child]:
            break
        ends.iteration[base + place] = ends.iteration[base + child]
        ends.slot[base + place] = ends.slot[base + child]
        place = child
        child = 2 * place + 1
    ends.iteration[base + place] = iteration
    ends.slot[base + place] = slot
