"""Decode replicas: who joins a batch, who leaves it, and when that is next looked at.

A batch changes only at the end of an iteration. So a replica's timer is the next end at which a
sequence is finished, a landed one may join, or memory runs out; the iterations before it are
skipped in closed form (batch.py).
"""

from __future__ import annotations

from replay.plant.batch import (
    add_end,
    first_seconds,
    remove_end,
    span,
    steps_to_cover,
)
from replay.plant.state import (
    FINISHED,
    FINISHED_ROWS,
    FIRST_ROWS,
    NEVER,
    NOBODY,
    PREEMPTED,
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


def schedule(state: State, laws: Laws, replica: int) -> None:
    """Set the timer to the next iteration's end at which the batch changes."""
    decode, stations = state.decode, state.stations
    station = decode_station(replica)
    landing = stations.head[station]
    batch = decode.batch[replica]
    if batch == 0:
        decode.steps[replica] = 0
        due = NEVER if landing == NOBODY else state.slots.landed_seconds[landing]
        set_timer(stations, station, due)
        return
    first = first_seconds(state, laws, replica)
    growth = laws.decode_context * batch
    began = decode.boundary_seconds[replica]
    steps = state.ends.iteration[replica * laws.max_sequences] - decode.iteration[replica]
    if laws.optimistic:
        room = laws.decode_capacity - decode.reserved_tokens[replica]
        steps = min(steps, int(room // batch))
    if landing != NOBODY and has_memory_for_one_more(state, laws, replica):
        wait = state.slots.landed_seconds[landing] - began
        # The inverse of the span is needed only if it lands before the batch changes anyway.
        if wait <= span(first, growth, steps - 1):
            steps = steps_to_cover(first, growth, max(wait, 0.0))
    decode.steps[replica] = steps
    set_timer(stations, station, began + span(first, growth, steps))


def advance_batch(state: State, laws: Laws, replica: int, now: float) -> None:
    """Complete the iterations that the timer stood for; `now` is the end of the last of them."""
    decode = state.decode
    tokens = decode.batch[replica] * decode.steps[replica]
    decode.iteration[replica] += decode.steps[replica]
    decode.context_tokens[replica] += tokens
    if laws.optimistic:
        decode.reserved_tokens[replica] += tokens
    decode.boundary_seconds[replica] = now


def finish_due(state: State, laws: Laws, replica: int, now: float) -> int:
    """Take every finished sequence out of the batch; return how many there were."""
    decode, ends = state.decode, state.ends
    top = replica * laws.max_sequences
    finished = 0
    while decode.batch[replica] > 0 and ends.iteration[top] <= decode.iteration[replica]:
        slot = ends.slot[top]
        tokens = state.slots.input_tokens[slot] + state.slots.output_tokens[slot]
        remove_end(state, laws, replica, 0)
        give_back(state, replica, tokens, tokens)
        record_finished(state, slot, now)
        free_slot(state, slot)
        finished += 1
    return finished


def give_back(state: State, replica: int, context_tokens: float, reserved_tokens: float) -> None:
    """Return what a sequence that left the batch has held."""
    decode = state.decode
    decode.sequences[replica] -= 1
    decode.reserved_tokens[replica] -= reserved_tokens
    if decode.batch[replica] > 0:
        decode.context_tokens[replica] -= context_tokens
    if decode.sequences[replica] == 0:
        decode.reserved_tokens[replica] = 0.0  # without the rounding that is left


def preempt_last(state: State, laws: Laws, replica: int) -> int:
    """Take the sequence that landed last out of the batch and return it, to be prefilled again."""
    ends, slots = state.ends, state.slots
    base = replica * laws.max_sequences
    last = 0
    for place in range(1, state.decode.batch[replica]):
        landed = slots.landed_seconds[ends.slot[base + place]]
        if landed > slots.landed_seconds[ends.slot[base + last]]:
            last = place
    slot = ends.slot[base + last]
    fold_generated(state, slot, ends.iteration[base + last] - state.decode.iteration[replica])
    remove_end(state, laws, replica, last)
    give_back(state, replica, slots.input_tokens[slot], slots.input_tokens[slot])
    state.counts[PREEMPTED] += 1
    return slot


def fold_generated(state: State, slot: int, remaining: int) -> None:
    """Make the tokens a request has generated part of its input, with `remaining` to come."""
    slots = state.slots
    generated = slots.output_tokens[slot] - remaining
    slots.input_tokens[slot] += generated
    slots.output_tokens[slot] -= generated
    slots.generated_tokens[slot] += generated
    slots.prefilled_tokens[slot] = 0.0


def has_memory_for_one_more(state: State, laws: Laws, replica: int) -> bool:
    """Whether the next iteration could give a token to one more sequence."""
    decode = state.decode
    next_tokens = decode.reserved_tokens[replica] + decode.batch[replica] + 1.0
    return not laws.optimistic or next_tokens <= laws.decode_capacity


def join_landed(state: State, laws: Laws, replica: int, now: float) -> None:
    """Let everything that has landed join the batch; its first token ends the next iteration."""
    decode, slots = state.decode, state.slots
    station = decode_station(replica)
    first_row = state.counts[FIRST_ROWS]
    while state.stations.length[station] > 0:
        slot = state.stations.head[station]
        if slots.landed_seconds[slot] > now or not has_memory_for_one_more(state, laws, replica):
            break
        pop(state, station)
        decode.context_tokens[replica] += slots.input_tokens[slot]
        last = decode.iteration[replica] + int(slots.output_tokens[slot])
        add_end(state, laws, replica, last, slot)
        if slots.generated_tokens[slot] == 0.0:
            note_first_token(state, slot)
    if state.counts[FIRST_ROWS] == first_row:
        return
    # Only now is the batch, and so the length of its next iteration, known.
    first_token = now + first_seconds(state, laws, replica)
    for row in range(first_row, state.counts[FIRST_ROWS]):
        state.first_tokens.first_token_seconds[row] = first_token
        slots.first_token_seconds[state.first_tokens.slot[row]] = first_token


def note_first_token(state: State, slot: int) -> None:
    """Open the row of a request's first token, whose time the caller fills in."""
    slots, rows = state.slots, state.first_tokens
    row = state.counts[FIRST_ROWS]
    rows.slot[row] = slot
    rows.arrival_seconds[row] = slots.arrival_seconds[slot]
    rows.input_tokens[row] = slots.input_tokens[slot]
    state.counts[FIRST_ROWS] = row + 1


def record_finished(state: State, slot: int, now: float) -> None:
    """Note a finished request, with the lengths it arrived with."""
    slots, rows = state.slots, state.finished
    row = state.counts[FINISHED_ROWS]
    rows.arrival_seconds[row] = slots.arrival_seconds[slot]
    rows.finished_seconds[row] = now
    rows.first_token_seconds[row] = slots.first_token_seconds[slot]
    rows.input_tokens[row] = slots.input_tokens[slot] - slots.generated_tokens[slot]
    rows.output_tokens[row] = slots.output_tokens[slot] + slots.generated_tokens[slot]
    state.counts[FINISHED_ROWS] = row + 1
    state.counts[FINISHED] += 1
