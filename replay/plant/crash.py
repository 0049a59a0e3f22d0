"""A replica dies: what it held is gone, and its requests are sent again or lost."""

from __future__ import annotations

from typing import Any

from policies.types import Role
from replay.plant.batch import remove_end, steps_begun
from replay.plant.decode import fold_generated, give_back
from replay.plant.fleet import cancel, pool_of, station_of
from replay.plant.prefill import route
from replay.plant.state import (
    FLOWS,
    HANDOFF,
    HANDOFF_TOKENS,
    LOST,
    Decode,
    Laws,
    Prefill,
    State,
    free_slot,
    pop,
    push,
    retire_if_draining,
)
from replay.plant.transfer import hand_over, remove_flow, settle, share_links


def kill(state: State, laws: Laws, role: Role, replica: int, now: float) -> list[int]:
    """End a replica at once; return the requests that it took with it, now in no queue.

    A prefill replica takes with it its prompts and the KV that it has not sent; a decode replica
    batch and what has landed. KV on its way to a dead decode replica is still with prefill and
    waits again. `resend` or `lose` must follow for what is returned.
    """
    settle(state, now)
    if role is Role.PREFILL:
        victims = _take_queue(state, role, replica) + _take_unsent(state, replica)
        victims += _take_flows(state, laws, role, replica, now)
    else:
        victims = _take_batch(state, laws, replica, now) + _take_queue(state, role, replica)
        for slot in _take_flows(state, laws, role, replica, now):
            state.totals[HANDOFF_TOKENS] += state.slots.input_tokens[slot]
            push(state, HANDOFF, slot)
    _clear(pool_of(state, role), replica)
    cancel(state, role, replica, now)
    share_links(state, laws, now)
    hand_over(state, laws, now)
    return victims


def resend(state: State, laws: Laws, slots: list[int], now: float) -> None:
    """Send requests to prefill again; what they have streamed is part of their input."""
    for slot in slots:
        state.slots.prefilled_tokens[slot] = 0.0
        route(state, laws, slot, now)


def lose(state: State, slots: list[int]) -> None:
    """Count requests as lost."""
    for slot in slots:
        state.counts[LOST] += 1
        free_slot(state, slot)


def _take_queue(state: State, role: Role, replica: int) -> list[int]:
    station = station_of(role, replica)
    return [pop(state, station) for _ in range(state.stations.length[station])]


def _take_unsent(state: State, replica: int) -> list[int]:
    """Take a prefill replica's prompts out of the hand-off queue; the others keep their order."""
    slots = [pop(state, HANDOFF) for _ in range(state.stations.length[HANDOFF])]
    for slot in slots:
        if state.slots.prefill_replica[slot] != replica:
            push(state, HANDOFF, slot)
    taken = [slot for slot in slots if state.slots.prefill_replica[slot] == replica]
    for slot in taken:
        state.totals[HANDOFF_TOKENS] -= state.slots.input_tokens[slot]
    return taken


def _take_flows(state: State, laws: Laws, role: Role, replica: int, now: float) -> list[int]:
    """Take a replica's transfers off the links and give back the decode space they reserved."""
    slots, decode = state.slots, state.decode
    own = slots.prefill_replica if role is Role.PREFILL else slots.decode_replica
    taken = []
    for flow in reversed(range(state.counts[FLOWS])):
        slot = state.flows.slot[flow]
        if own[slot] != replica:
            continue
        target = slots.decode_replica[slot]
        state.prefill.outgoing[slots.prefill_replica[slot]] -= 1
        decode.incoming[target] -= 1
        later = 0.0 if laws.optimistic else slots.output_tokens[slot]
        give_back(state, target, 0.0, slots.input_tokens[slot] + later)
        if decode.sequences[target] == 0:
            retire_if_draining(decode, target, now)
        remove_flow(state, flow)
        taken.append(slot)
    return taken


def _take_batch(state: State, laws: Laws, replica: int, now: float) -> list[int]:
    """Empty a batch; the iteration in progress gives no token any more."""
    completed = max(0, steps_begun(state, laws, replica, now) - 1)
    iteration = state.decode.iteration[replica] + completed
    base = replica * laws.max_sequences
    taken = []
    while state.decode.batch[replica] > 0:
        slot = state.ends.slot[base]
        fold_generated(state, slot, state.ends.iteration[base] - iteration)
        remove_end(state, laws, replica, 0)
        taken.append(slot)
    return taken


def _clear(pool: Prefill | Decode, replica: int) -> None:
    """Forget everything about a replica but when it was asked for."""
    columns: dict[str, Any] = pool._asdict()
    for name, column in columns.items():
        if name != "asked_seconds":
            column[replica] = type(column[replica])(0)
