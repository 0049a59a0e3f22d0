"""The fleet as a fluid: rates instead of requests, for searches over many schedules.

One step holds prompts waiting for prefill, KV waiting for decode, and sequences in decode, all as
real numbers, and moves what the plant's physics allows on average. It leaves out everything
random: within a rate that fits there is no queue, and all requests of a step have mean lengths.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

from policies.types import PerRole
from replay.compiled import is_warm, machine_code
from replay.physics import Physics
from replay.plant.state import Laws

Floats = NDArray[np.float64]

_SHORTEST_SECONDS = 1e-9  # of a service, so that no rate is infinite


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """Arrivals per step: a rate and mean lengths; columns of equal length.

    `computed_tokens` is the part of the prompt that no prefix cache holds.
    """

    step_seconds: float
    requests_per_second: Floats
    input_tokens: Floats
    computed_tokens: Floats
    output_tokens: Floats

    def __len__(self) -> int:
        return len(self.requests_per_second)


class FluidRun(NamedTuple):
    """The fleet after each step; `ttft_seconds` is that of a request that arrives then."""

    waiting_prompts: Floats
    waiting_transfers: Floats
    decode_sequences: Floats
    ttft_seconds: Floats
    itl_seconds: Floats


class _Inputs(NamedTuple):
    requests_per_second: Sequence[float]
    input_tokens: Sequence[float]
    computed_tokens: Sequence[float]
    output_tokens: Sequence[float]
    prefill_replicas: Sequence[float]
    decode_replicas: Sequence[float]


class _Outputs(NamedTuple):
    waiting_prompts: MutableSequence[float]
    waiting_transfers: MutableSequence[float]
    decode_sequences: MutableSequence[float]
    ttft_seconds: MutableSequence[float]
    itl_seconds: MutableSequence[float]


def flow(
    physics: Physics, demand: Demand, ready: PerRole[Floats], *, compiled: bool | None = None
) -> FluidRun:
    """Run `demand` through `ready` replicas per step, starting empty.

    `compiled` is as for `Plant`. ValueError when the columns differ in length.
    """
    columns = (
        demand.requests_per_second,
        demand.input_tokens,
        demand.computed_tokens,
        demand.output_tokens,
        *ready,
    )
    if {len(column) for column in columns} != {len(demand)}:
        lengths = ", ".join(str(len(column)) for column in columns)
        raise ValueError(f"demand and replicas must have a row per step each; they have {lengths}")
    use_machine_code = is_warm(flow_steps) if compiled is None else compiled
    laws = Laws.of(physics)
    if use_machine_code:
        arrays: list[Any] = [np.require(column, np.float64, ["C", "W"]) for column in columns]
        outputs: list[Any] = [np.empty(len(demand)) for _ in _Outputs._fields]
        machine_code(flow_steps)(laws, demand.step_seconds, _Inputs(*arrays), _Outputs(*outputs))
        return FluidRun(*outputs)
    lists = [column.tolist() for column in columns]
    results = _Outputs(*([0.0] * len(demand) for _ in _Outputs._fields))
    flow_steps(laws, demand.step_seconds, _Inputs(*lists), results)
    return FluidRun(*(np.array(column) for column in results))


def ready_replicas(target: Floats, startup_seconds: float, step_seconds: float) -> Floats:
    """How many replicas are ready in each step, if `target` was asked for.

    A replica is ready once it has been wanted throughout its start-up time, so this is the
    smallest target of that window. What was wanted in the first step is ready from the start.
    """
    steps = round(startup_seconds / step_seconds)
    wanted = np.asarray(target, dtype=np.float64)
    ready: Floats = minimum_filter1d(wanted, steps + 1, origin=steps // 2, mode="nearest")
    return ready


def flow_steps(laws: Laws, step_seconds: float, given: _Inputs, told: _Outputs) -> None:
    """Fill `told`, step by step. Runs as Python over lists and as machine code over arrays."""
    prompts = 0.0
    transfers = 0.0
    sequences = 0.0
    for step in range(len(given.requests_per_second)):
        tokens = given.input_tokens[step]
        answer = given.output_tokens[step]
        servers = given.prefill_replicas[step]
        decoders = given.decode_replicas[step]
        prompt_seconds = prefill_seconds(laws, tokens, given.computed_tokens[step])
        held = transfers * tokens
        link = link_rate(laws, tokens, servers, decoders)
        context = tokens + 0.5 * answer
        places = decoders * min(laws.max_sequences, laws.decode_capacity / (tokens + answer))

        arrived = given.requests_per_second[step] * step_seconds
        memory = max(0.0, servers * laws.prefill_capacity - held) / tokens
        prefilled = min(prompts + arrived, servers / prompt_seconds * step_seconds, memory)
        growth = seconds_per_sequence(laws, context, decoders)
        iteration = laws.decode_base + growth * sequences
        finished = min(sequences, sequences * step_seconds / (answer * iteration))
        room = max(0.0, places - sequences + finished)
        moved = min(transfers + prefilled, link * step_seconds, room)

        prompts += arrived - prefilled
        transfers += prefilled - moved
        sequences += moved - finished

        iteration = laws.decode_base + growth * sequences
        drain = min(link, places / (answer * (laws.decode_base + growth * places)))
        told.waiting_prompts[step] = prompts
        told.waiting_transfers[step] = transfers
        told.decode_sequences[step] = sequences
        told.itl_seconds[step] = iteration
        told.ttft_seconds[step] = (
            wait_seconds(prompts, servers / prompt_seconds)
            + prompt_seconds
            + wait_seconds(transfers, drain)
            + transfer_seconds(laws, tokens)
            + iteration
        )


def prefill_seconds(laws: Laws, tokens: float, computed_tokens: float) -> float:
    """One prompt alone in its iteration."""
    cached = tokens - computed_tokens
    squares = tokens * tokens - cached * cached
    seconds = (
        laws.prefill_base + laws.prefill_linear * computed_tokens + laws.prefill_quadratic * squares
    )
    return max(seconds, _SHORTEST_SECONDS)


def transfer_seconds(laws: Laws, tokens: float) -> float:
    """One transfer alone on its links."""
    moving = tokens * laws.bytes_per_token / min(laws.egress, laws.ingress)
    return laws.transfer_base + moving


def link_rate(laws: Laws, tokens: float, servers: float, decoders: float) -> float:
    """Most transfers per second."""
    narrowest = min(servers * laws.egress, decoders * laws.ingress)
    return narrowest / max(tokens * laws.bytes_per_token, _SHORTEST_SECONDS)


def seconds_per_sequence(laws: Laws, context: float, decoders: float) -> float:
    """What one more sequence in the fleet adds to the iterations of its replicas."""
    if decoders <= 0.0:
        return 0.0
    return (laws.decode_linear + laws.decode_context * context) / decoders


def wait_seconds(queue: float, per_second: float) -> float:
    """How long a queue takes to drain; infinite when nothing drains it."""
    if queue <= 0.0:
        return 0.0
    return queue / per_second if per_second > 0.0 else np.inf
