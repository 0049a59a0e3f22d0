"""Continuous batching in closed form: a decode replica's token clock, and who ends when.

Each iteration gives every sequence of the batch one token and makes its context one longer. With
B sequences and C context tokens in the first of them, iteration i (from 0) takes

    first + i * growth,  first = base + linear*B + context*C,  growth = context*B,

so j iterations take j*first + growth*j*(j-1)/2. That is exact, not an approximation.
"""

from __future__ import annotations

import math

from replay.plant.state import Laws, State


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


def steps_begun(state: State, laws: Laws, replica: int, now: float) -> int:
    """Iterations since the last boundary, with the one in progress."""
    decode = state.decode
    if decode.batch[replica] == 0:
        return 0
    elapsed = now - decode.boundary_seconds[replica]
    growth = laws.decode_context * decode.batch[replica]
    return steps_to_cover(first_seconds(state, laws, replica), growth, elapsed)


def tokens_ahead(state: State, laws: Laws, replica: int, now: float) -> float:
    """KV tokens in use at the end of the iteration in progress, without a promise for more."""
    decode = state.decode
    grown = decode.batch[replica] * steps_begun(state, laws, replica, now)
    return decode.reserved_tokens[replica] + grown


def add_end(state: State, laws: Laws, replica: int, iteration: int, slot: int) -> None:
    """Add a sequence that ends with `iteration` to the batch and its heap."""
    base = replica * laws.max_sequences
    size = state.decode.batch[replica]
    state.decode.batch[replica] = size + 1
    sift_up(state, base, size, iteration, slot)


def remove_end(state: State, laws: Laws, replica: int, place: int) -> None:
    """Take the sequence at `place` of the heap out of the batch."""
    ends = state.ends
    base = replica * laws.max_sequences
    size = state.decode.batch[replica] - 1
    state.decode.batch[replica] = size
    if size == 0:
        state.decode.context_tokens[replica] = 0.0  # without the rounding that is left
        return
    iteration = ends.iteration[base + size]
    slot = ends.slot[base + size]
    child = 2 * place + 1
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
    sift_up(state, base, place, iteration, slot)


def sift_up(state: State, base: int, place: int, iteration: int, slot: int) -> None:
    """Put an entry into the heap at `place` or above."""
    ends = state.ends
    while place > 0:
        parent = (place - 1) >> 1
        if ends.iteration[base + parent] <= iteration:
            break
        ends.iteration[base + place] = ends.iteration[base + parent]
        ends.slot[base + place] = ends.slot[base + parent]
        place = parent
    ends.iteration[base + place] = iteration
    ends.slot[base + place] = slot
