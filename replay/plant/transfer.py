"""The KV hand-off: decode space is reserved first, then the bytes share two links."""

from __future__ import annotations

from replay.plant.batch import tokens_ahead
from replay.plant.decode import schedule
from replay.plant.state import (
    DECODE_TURN,
    FLOWS,
    HANDOFF,
    HANDOFF_TOKENS,
    MOVED_BYTES,
    NEVER,
    NEXT_FLOW,
    NO_REPLICA,
    READY,
    SHARED_SECONDS,
    Laws,
    State,
    pop,
)
from replay.plant.timers import set_timer


def hand_over(state: State, laws: Laws, now: float) -> None:
    """Start the transfers that decode has room for, in the order in which prefill ended.

    The first that finds no room holds back those behind it, so that long prompts are not starved.
    """
    waiting = state.stations.length
    flows = state.counts[FLOWS]
    while waiting[HANDOFF] > 0:
        replica = replica_with_room(state, laws, state.stations.head[HANDOFF], now)
        if replica == NO_REPLICA:
            break
        start_transfer(state, laws, pop(state, HANDOFF), replica)
        if laws.optimistic:
            schedule(state, laws, replica)  # its memory may now run out sooner
    if state.counts[FLOWS] != flows:
        share_links(state, laws, now)


def replica_with_room(state: State, laws: Laws, slot: int, now: float) -> int:
    """The decode replica to send a prompt's KV to: the one with the fewest tokens in use.

    Under round-robin, the next one in turn that has room.
    """
    if not laws.in_turn:
        replica = least_used(state, laws, now)
        if replica != NO_REPLICA and has_room(state, laws, replica, slot, now):
            return replica
        return NO_REPLICA  # nor has any other
    replicas = len(state.decode.status)
    for step in range(1, replicas + 1):
        replica = (state.counts[DECODE_TURN] + step) % replicas
        if takes_more(state, laws, replica) and has_room(state, laws, replica, slot, now):
            state.counts[DECODE_TURN] = replica
            return replica
    return NO_REPLICA


def least_used(state: State, laws: Laws, now: float) -> int:
    """The decode replica with the fewest tokens in use among those that take more requests."""
    best = NO_REPLICA
    fewest = NEVER
    for replica in range(len(state.decode.status)):
        if takes_more(state, laws, replica):
            tokens = tokens_used(state, laws, replica, now)
            if tokens < fewest:
                best = replica
                fewest = tokens
    return best


def takes_more(state: State, laws: Laws, replica: int) -> bool:
    """Whether a decode replica has a place in its batch and on its link."""
    decode = state.decode
    return (
        decode.status[replica] == READY
        and decode.sequences[replica] < laws.max_sequences
        and decode.incoming[replica] < laws.transfers_per_replica
    )


def tokens_used(state: State, laws: Laws, replica: int, now: float) -> float:
    """KV tokens promised, or in use where nothing is promised."""
    if laws.optimistic:
        return tokens_ahead(state, laws, replica, now)
    return state.decode.reserved_tokens[replica]


def has_room(state: State, laws: Laws, replica: int, slot: int, now: float) -> bool:
    """Whether a request fits: with its whole answer, or optimistically with its first token."""
    slots = state.slots
    answer = 1.0 if laws.optimistic else slots.output_tokens[slot]
    tokens = tokens_used(state, laws, replica, now) + slots.input_tokens[slot] + answer
    return tokens <= laws.decode_capacity


def start_transfer(state: State, laws: Laws, slot: int, replica: int) -> None:
    """Reserve decode space and put the prompt's KV on the links; `share_links` must follow."""
    decode, slots, flows = state.decode, state.slots, state.flows
    tokens = slots.input_tokens[slot]
    slots.decode_replica[slot] = replica
    decode.sequences[replica] += 1
    decode.reserved_tokens[replica] += tokens
    if not laws.optimistic:
        decode.reserved_tokens[replica] += slots.output_tokens[slot]
    decode.incoming[replica] += 1
    state.prefill.outgoing[slots.prefill_replica[slot]] += 1
    state.totals[HANDOFF_TOKENS] -= tokens
    flow = state.counts[FLOWS]
    flows.slot[flow] = slot
    flows.remaining_bytes[flow] = tokens * laws.bytes_per_token
    flows.bytes_per_second[flow] = 0.0
    state.counts[FLOWS] = flow + 1


def take_ended(state: State, laws: Laws, now: float) -> int:
    """Take the transfer that ends now off its links and return its request."""
    settle(state, now)
    flows, counts, slots = state.flows, state.counts, state.slots
    flow = counts[NEXT_FLOW]
    slot = flows.slot[flow]
    state.decode.incoming[slots.decode_replica[slot]] -= 1
    state.prefill.outgoing[slots.prefill_replica[slot]] -= 1
    state.totals[MOVED_BYTES] += slots.input_tokens[slot] * laws.bytes_per_token
    remove_flow(state, flow)
    return slot


def remove_flow(state: State, flow: int) -> None:
    """Put the last flow in the place of one that is over."""
    flows = state.flows
    last = state.counts[FLOWS] - 1
    flows.slot[flow] = flows.slot[last]
    flows.remaining_bytes[flow] = flows.remaining_bytes[last]
    flows.bytes_per_second[flow] = flows.bytes_per_second[last]
    state.counts[FLOWS] = last


def settle(state: State, now: float) -> None:
    """Take off what has moved at the present rates since the last change."""
    flows = state.flows
    elapsed = now - state.totals[SHARED_SECONDS]
    if elapsed > 0.0:
        for flow in range(state.counts[FLOWS]):
            flows.remaining_bytes[flow] -= flows.bytes_per_second[flow] * elapsed
    state.totals[SHARED_SECONDS] = now


def share_links(state: State, laws: Laws, now: float) -> None:
    """Share every link equally among its transfers; a transfer gets the smaller of its shares.

    What one end cannot use is not given to others: with unequal shares a link may stay a little
    below its bandwidth, as it does between real congestion-controlled flows.
    """
    settle(state, now)
    flows, slots = state.flows, state.slots
    earliest = NEVER
    for flow in range(state.counts[FLOWS]):
        slot = flows.slot[flow]
        rate = min(
            laws.egress / state.prefill.outgoing[slots.prefill_replica[slot]],
            laws.ingress / state.decode.incoming[slots.decode_replica[slot]],
        )
        flows.bytes_per_second[flow] = rate
        end = now + max(flows.remaining_bytes[flow], 0.0) / rate
        if end < earliest:
            earliest = end
            state.counts[NEXT_FLOW] = flow
    set_timer(state.stations, HANDOFF, earliest)
