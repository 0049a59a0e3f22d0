"""The event loop: what happens at each timer, until a time is reached."""

from __future__ import annotations

from replay.plant.decode import (
    advance_batch,
    finish_due,
    join_landed,
    land,
    preempt_last,
    schedule,
)
from replay.plant.prefill import (
    keep_chunk,
    next_finished,
    nth_ready,
    release,
    route,
    serve_waiting,
    start_iteration,
)
from replay.plant.state import (
    ARRIVAL_ROWS,
    ARRIVED,
    FINISHED_ROWS,
    FIRST_ROWS,
    FREE_SLOT,
    HANDOFF,
    HANDOFF_TOKENS,
    NEVER,
    NEXT_ARRIVAL,
    NO_REPLICA,
    NOBODY,
    READY,
    REFUSED,
    ROUTER,
    STARTING,
    Laws,
    State,
    prefill_station,
    push,
    retire_if_draining,
    take_slot,
)
from replay.plant.timers import set_timer
from replay.plant.transfer import hand_over, share_links, take_ended

# Why `run` came back.
REACHED, ARRIVALS_USED_UP, SLOTS_FULL, ROWS_FULL = range(4)


def run(state: State, laws: Laws, until_seconds: float) -> int:
    """Process every event up to and including `until_seconds`, or until a column is full.

    Whoever calls makes room, or brings the next arrivals, and calls again.
    """
    due, winner = state.stations.due_seconds, state.stations.winner
    while True:
        station = winner[1]
        now = due[station]
        if now > until_seconds:
            return REACHED
        if station == ROUTER:
            if state.counts[FREE_SLOT] == NOBODY:
                return SLOTS_FULL
            if not arrive(state, laws, now):
                return ARRIVALS_USED_UP
        elif station == HANDOFF:
            end_transfer(state, laws, now)
        elif station % 2 == 0:
            prefill_timer(state, laws, (station - 2) // 2, now)
        elif rows_left(state) < laws.max_sequences:
            return ROWS_FULL
        else:
            decode_timer(state, laws, (station - 3) // 2, now)


def rows_left(state: State) -> int:
    """How many more first tokens and finished requests can be noted."""
    used = max(state.counts[FIRST_ROWS], state.counts[FINISHED_ROWS])
    return len(state.finished.arrival_seconds) - used


def arrive(state: State, laws: Laws, now: float) -> bool:
    """Let the next request in; False if it was the last one known."""
    counts, slots, arrivals = state.counts, state.slots, state.arrivals
    row = counts[NEXT_ARRIVAL]
    counts[NEXT_ARRIVAL] = row + 1
    counts[ARRIVED] += 1
    more = row + 1 < counts[ARRIVAL_ROWS]
    set_timer(state.stations, ROUTER, arrivals.arrival_seconds[row + 1] if more else NEVER)
    if arrivals.input_tokens[row] + arrivals.output_tokens[row] > laws.decode_capacity:
        counts[REFUSED] += 1  # as engines do with a prompt beyond their maximum length
        return more
    slot = take_slot(state)
    slots.arrival_seconds[slot] = now
    slots.input_tokens[slot] = arrivals.input_tokens[row]
    slots.output_tokens[slot] = arrivals.output_tokens[row]
    slots.cached_tokens[slot] = arrivals.cached_tokens[row]
    slots.generated_tokens[slot] = 0.0
    slots.prefilled_tokens[slot] = 0.0
    slots.home_replica[slot] = NO_REPLICA
    if laws.local_cache and arrivals.cached_tokens[row] > 0.0:
        slots.home_replica[slot] = nth_ready(state, arrivals.home_draw[row])
    route(state, laws, slot, now)
    return more


def prefill_timer(state: State, laws: Laws, replica: int, now: float) -> None:
    """A replica becomes ready, or ends an iteration: prompts go to the hand-off."""
    prefill, slots = state.prefill, state.slots
    station = prefill_station(replica)
    if prefill.status[replica] == STARTING:
        prefill.status[replica] = READY
        set_timer(state.stations, station, NEVER)
        serve_waiting(state, laws, replica, now)
        return
    for _ in range(prefill.finishing[replica]):
        slot = next_finished(state, replica)
        state.totals[HANDOFF_TOKENS] += slots.input_tokens[slot]
        push(state, HANDOFF, slot)
    keep_chunk(state, replica)
    start_iteration(state, laws, replica, now)
    hand_over(state, laws, now)


def end_transfer(state: State, laws: Laws, now: float) -> None:
    """The last byte of a prompt's KV leaves its prefill replica."""
    slot = take_ended(state, laws, now)
    land(state, laws, slot, now)
    release(state, laws, slot, now)
    hand_over(state, laws, now)
    share_links(state, laws, now)


def decode_timer(state: State, laws: Laws, replica: int, now: float) -> None:
    """A replica becomes ready, or an iteration ends at which its batch changes."""
    decode = state.decode
    if decode.status[replica] == STARTING:
        decode.status[replica] = READY
        schedule(state, laws, replica)
        hand_over(state, laws, now)
        return
    advance_batch(state, laws, replica, now)
    left = finish_due(state, laws, replica, now)
    while out_of_memory(state, laws, replica):
        route(state, laws, preempt_last(state, laws, replica), now)
        left += 1
    join_landed(state, laws, replica, now)
    schedule(state, laws, replica)
    if left > 0:
        if decode.sequences[replica] == 0:
            retire_if_draining(decode, replica, now)
        hand_over(state, laws, now)


def out_of_memory(state: State, laws: Laws, replica: int) -> bool:
    """Whether the batch has no room for the tokens of its next iteration."""
    decode = state.decode
    batch = decode.batch[replica]
    needed = decode.reserved_tokens[replica] + batch
    return laws.optimistic and batch > 0 and needed > laws.decode_capacity
