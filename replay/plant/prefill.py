"""Prefill replicas: prompts in order of arrival, packed into iterations by a token budget."""

from __future__ import annotations

from replay.plant.state import (
    NEVER,
    NO_REPLICA,
    NOBODY,
    PREFILL_TURN,
    READY,
    ROUTER,
    Laws,
    State,
    pop,
    prefill_station,
    push,
    retire_if_draining,
)
from replay.plant.timers import set_timer


def route(state: State, laws: Laws, slot: int, now: float) -> None:
    """Give a prompt to a replica, or keep it at the router until one can take it."""
    if laws.late_binding:
        push(state, ROUTER, slot)
        # A prompt behind others cannot start before them.
        if state.stations.length[ROUTER] == 1:
            replica = idle_replica(state, laws, slot)
            if replica != NO_REPLICA:
                start_iteration(state, laws, replica, now)
        return
    replica = next_in_turn(state) if laws.in_turn else least_work(state, laws, slot)
    if replica == NO_REPLICA:
        push(state, ROUTER, slot)
        return
    assign(state, laws, replica, slot)
    if is_idle(state, replica):
        start_iteration(state, laws, replica, now)


def assign(state: State, laws: Laws, replica: int, slot: int) -> None:
    """Bind a prompt to a replica; whether its prefix is cached there is now known."""
    slots = state.slots
    if laws.local_cache and slots.home_replica[slot] != replica:
        slots.cached_tokens[slot] = 0.0
    slots.prefill_replica[slot] = replica
    work = slots.input_tokens[slot] - slots.cached_tokens[slot]
    state.prefill.queued_tokens[replica] += work
    push(state, prefill_station(replica), slot)


def serve_waiting(state: State, laws: Laws, replica: int, now: float) -> None:
    """Let a replica that has just become ready take what waits at the router."""
    if laws.late_binding:
        start_iteration(state, laws, replica, now)
        return
    for _ in range(state.stations.length[ROUTER]):
        route(state, laws, pop(state, ROUTER), now)


def is_idle(state: State, replica: int) -> bool:
    """Whether no iteration is in progress."""
    return state.prefill.finishing[replica] == 0 and state.prefill.chunk_tokens[replica] == 0.0


def holds_nothing(state: State, replica: int) -> bool:
    """Whether a replica has neither a prompt to run nor KV to send."""
    waiting = state.stations.length[prefill_station(replica)]
    return waiting == 0 and state.prefill.prompts[replica] == 0


def has_memory(state: State, laws: Laws, replica: int, slot: int) -> bool:
    """Whether a prompt's KV fits beside what is held; a replica that holds nothing takes any."""
    prefill = state.prefill
    wanted = prefill.pinned_tokens[replica] + state.slots.input_tokens[slot]
    return prefill.prompts[replica] == 0 or wanted <= laws.prefill_capacity


def idle_replica(state: State, laws: Laws, slot: int) -> int:
    """The idle replica that holds the least KV, among those with memory for this prompt."""
    best = NO_REPLICA
    prefill = state.prefill
    for replica in range(len(prefill.status)):
        if (
            prefill.finishing[replica] == 0
            and prefill.status[replica] == READY
            and is_idle(state, replica)
            and has_memory(state, laws, replica, slot)
            and (best == NO_REPLICA or prefill.pinned_tokens[replica] < prefill.pinned_tokens[best])
        ):
            best = replica
    return best


def next_in_turn(state: State) -> int:
    """The ready replica after the one that had the last turn."""
    replicas = len(state.prefill.status)
    for step in range(1, replicas + 1):
        replica = (state.counts[PREFILL_TURN] + step) % replicas
        if state.prefill.status[replica] == READY:
            state.counts[PREFILL_TURN] = replica
            return replica
    return NO_REPLICA


def least_work(state: State, laws: Laws, slot: int) -> int:
    """The ready replica that would have the fewest tokens to compute if it took this prompt."""
    prefill, slots = state.prefill, state.slots
    best = NO_REPLICA
    fewest = 0.0
    for replica in range(len(prefill.status)):
        if prefill.status[replica] != READY:
            continue
        tokens = prefill.queued_tokens[replica] + slots.input_tokens[slot]
        if not laws.local_cache or slots.home_replica[slot] == replica:
            tokens -= slots.cached_tokens[slot]
        if best == NO_REPLICA or tokens < fewest:
            best = replica
            fewest = tokens
    return best


def nth_ready(state: State, draw: float) -> int:
    """The ready replica that a uniform draw in [0, 1) falls on."""
    status = state.prefill.status
    ready = 0
    for replica in range(len(status)):
        ready += status[replica] == READY
    place = int(draw * ready)
    for replica in range(len(status)):
        if status[replica] == READY:
            if place == 0:
                return replica
            place -= 1
    return NO_REPLICA


def next_prompt(state: State, laws: Laws, replica: int, slot: int) -> int:
    """The prompt to pack next: `slot` from the replica's own queue, else the router's first."""
    if slot != NOBODY:
        started = state.slots.prefilled_tokens[slot] > 0.0
        return slot if started or has_memory(state, laws, replica, slot) else NOBODY
    if not laws.late_binding or state.prefill.status[replica] != READY:
        return NOBODY
    if state.stations.length[ROUTER] == 0:
        return NOBODY
    if not has_memory(state, laws, replica, state.stations.head[ROUTER]):
        return NOBODY
    slot = pop(state, ROUTER)
    assign(state, laws, replica, slot)
    return slot


def start_iteration(state: State, laws: Laws, replica: int, now: float) -> None:
    """Pack prompts until the token budget is used; the last one may be cut into a chunk."""
    slots, prefill = state.slots, state.prefill
    station = prefill_station(replica)
    budget = laws.token_budget
    seconds = laws.prefill_base
    finishing = 0
    chunk = 0.0
    slot = next_prompt(state, laws, replica, state.stations.head[station])
    while slot != NOBODY:
        done = slots.prefilled_tokens[slot]
        if done == 0.0:
            prefill.prompts[replica] += 1
            prefill.pinned_tokens[replica] += slots.input_tokens[slot]
        before = slots.cached_tokens[slot] + done
        work = slots.input_tokens[slot] - before
        taken = min(work, budget)
        after = before + taken
        seconds += laws.prefill_linear * taken
        seconds += laws.prefill_quadratic * (after * after - before * before)
        budget -= taken
        if taken < work:
            chunk = taken
            break
        finishing += 1
        if laws.one_at_a_time or budget <= 0.0:
            break
        slot = next_prompt(state, laws, replica, slots.next[slot])
    prefill.finishing[replica] = finishing
    prefill.chunk_tokens[replica] = chunk
    idle = finishing == 0 and chunk == 0.0
    set_timer(state.stations, station, NEVER if idle else now + seconds)


def next_finished(state: State, replica: int) -> int:
    """Take the first of the prompts that end with this iteration out of the replica's queue."""
    slots, prefill = state.slots, state.prefill
    station = prefill_station(replica)
    slot = pop(state, station)
    done = slots.cached_tokens[slot] + slots.prefilled_tokens[slot]
    prefill.queued_tokens[replica] -= slots.input_tokens[slot] - done
    if state.stations.length[station] == 0:
        prefill.queued_tokens[replica] = 0.0  # without the rounding that is left
    return slot


def keep_chunk(state: State, replica: int) -> None:
    """Note what this iteration has computed of a prompt that goes on."""
    prefill = state.prefill
    chunk = prefill.chunk_tokens[replica]
    if chunk > 0.0:
        state.slots.prefilled_tokens[state.stations.head[prefill_station(replica)]] += chunk
        prefill.queued_tokens[replica] -= chunk


def release(state: State, laws: Laws, slot: int, now: float) -> None:
    """Free the memory of a prompt whose KV has left, which may let its replica start again."""
    prefill = state.prefill
    replica = state.slots.prefill_replica[slot]
    prefill.prompts[replica] -= 1
    prefill.pinned_tokens[replica] -= state.slots.input_tokens[slot]
    if prefill.prompts[replica] == 0:
        prefill.pinned_tokens[replica] = 0.0  # without the rounding that is left
    if is_idle(state, replica):
        start_iteration(state, laws, replica, now)
    if holds_nothing(state, replica):
        retire_if_draining(prefill, replica, now)
