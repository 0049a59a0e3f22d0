"""Engine arguments for Dynamo's replay that make its workers obey our physics.

Dynamo times a pass by sums over its batch: prefill by the new tokens in it, decode by the KV tokens
in use and their mean per sequence. Decode's law is one of those; prefill's quadratic term is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policies.types import PerRole
from replay.backends.dynamo.workload import BLOCK_TOKENS, Workload
from replay.physics import DecodePhysics, Physics, PrefillPhysics, Router, ScaleIn, TransferPhysics

# Dynamo interpolates linearly between the points of its timing tables.
_PROMPT_POINTS = 1024
_CONTEXT_POINTS = 1024
_LONGEST_CONTEXT_TOKENS = 2.0**21
# Prefill replicas of ours have no limit but their memory, and no pass holds this many prompts.
_UNLIMITED_SEQUENCES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineArguments:
    """A fleet in Dynamo's words: the workers of each pool, and how requests reach them.

    A queue threshold of 0 keeps prompts in one queue until a worker has nothing to prefill.
    """

    pools: PerRole[dict[str, Any]]
    router_mode: str = "round_robin"
    router_queue_threshold: float | None = None


def arguments(physics: Physics, workload: Workload, folder: Path) -> EngineArguments:
    """Describe a fleet to Dynamo, with its timing table in `folder`.

    ValueError for what Dynamo's replay cannot do at all; docs/simulator.md has what it does
    differently.
    """
    if physics.scale_in is not ScaleIn.DRAIN:
        raise ValueError(f"Dynamo's replay always drains; it cannot {physics.scale_in} replicas")
    if any(startup.spread for startup in physics.startup_seconds):
        raise ValueError("Dynamo's replay has fixed start-up times; use a spread of 0")
    timing = folder / "timing.npz"
    np.savez(timing, **_prefill_table(physics.prefill, workload), **_decode_table(physics.decode))
    engines = PerRole(_prefill(physics, workload), _decode(physics))
    return EngineArguments(
        pools=PerRole.of(
            lambda role: {
                "engine": {
                    "worker_type": role.value,
                    "block_size": BLOCK_TOKENS,
                    "timing_model": {
                        "type": "external",
                        "provider": "dynamo_profile",
                        "config": {"path": str(timing)},
                    },
                    **engines[role],
                },
                "startup_time": physics.startup_seconds[role].median_seconds,
            }
        ),
        router_mode="round_robin" if physics.router is Router.ROUND_ROBIN else "kv_router",
        router_queue_threshold=0.0 if physics.router is Router.LEAST_LOADED else None,
    )


def _prefill(physics: Physics, workload: Workload) -> dict[str, Any]:
    law, alone = physics.prefill, physics.prefill.token_budget == 0
    return {
        "max_num_seqs": 1 if alone else _UNLIMITED_SEQUENCES,
        "max_num_batched_tokens": workload.longest_prompt_tokens if alone else law.token_budget,
        "num_gpu_blocks": int(law.kv_capacity_tokens // BLOCK_TOKENS),
        "enable_prefix_caching": workload.has_prefix_hits,
        **_transfer(physics.transfer),
    }


def _decode(physics: Physics) -> dict[str, Any]:
    return {
        "max_num_seqs": physics.decode.max_sequences,
        "num_gpu_blocks": int(physics.decode.kv_capacity_tokens // BLOCK_TOKENS),
        "enable_prefix_caching": False,
    }


def _transfer(law: TransferPhysics) -> dict[str, Any]:
    """The hand-off, which for Dynamo takes bytes over bandwidth, whatever else moves."""
    bandwidth = min(law.egress_bytes_per_second, law.ingress_bytes_per_second)
    whole_bytes = round(law.bytes_per_token)
    if not whole_bytes:
        return {}
    return {
        "kv_transfer_bytes_per_token": whole_bytes,
        "kv_transfer_bandwidth": bandwidth / 1e9,
    }


def _prefill_table(law: PrefillPhysics, workload: Workload) -> dict[str, Any]:
    """Seconds of a prefill pass by its new tokens.

    One prompt at a time, that is our law for a prompt without prefix hits. With a token budget, a
    pass of 8,192 tokens may be one prompt or eight; there the quadratic term becomes linear at a
    slope that gives this trace the same total work.
    """
    if law.token_budget == 0:
        tokens = np.linspace(0.0, workload.longest_prompt_tokens, _PROMPT_POINTS)
        slope, curvature = law.seconds_per_token, law.seconds_per_squared_token
    else:
        tokens = np.array([0.0, float(law.token_budget)])
        squares_per_token = workload.squared_tokens / max(workload.new_tokens, 1.0)
        slope = law.seconds_per_token + law.seconds_per_squared_token * squares_per_token
        curvature = 0.0
    seconds = law.base_seconds + slope * tokens + curvature * tokens**2
    return {"prefill_isl": tokens, "prefill_ttft_ms": 1000.0 * seconds}


def _decode_table(law: DecodePhysics) -> dict[str, Any]:
    """Seconds of a decode pass by the KV tokens in use and the mean context of a sequence.

    KV tokens over the mean context is the number of sequences, so this is our law itself.
    """
    tokens = np.array([0.0, 2.0 * law.kv_capacity_tokens])
    context = np.geomspace(1.0, _LONGEST_CONTEXT_TOKENS, _CONTEXT_POINTS)
    in_use, per_sequence = np.meshgrid(tokens, context, indexing="ij")
    seconds = (
        law.base_seconds
        + law.seconds_per_sequence * in_use / per_sequence
        + law.seconds_per_context_token * in_use
    )
    return {
        "decode_active_kv_tokens": tokens,
        "decode_context_length": context,
        "decode_itl": 1000.0 * seconds,
    }
