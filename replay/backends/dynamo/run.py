"""One run of a scene in Dynamo's replay."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policies.config import Slo
from policies.types import PerRole
from replay.backends.dynamo.engine import arguments
from replay.backends.dynamo.hook import Hook
from replay.backends.dynamo.runtime import run_trace_replay
from replay.backends.dynamo.snapshot import Gauge, Pools, Window
from replay.backends.dynamo.workload import BLOCK_TOKENS, Workload, write
from replay.requests import Floats
from replay.scene import Scene
from replay.scoring import Score, Scorer
from replay.simulator import PATIENCE_SECONDS, Policy, Static, Step


def play(
    scene: Scene,
    policy: Policy,
    *,
    tick_seconds: float | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Score:
    """Run a policy in Dynamo's replay; a fixed fleet starts as such.

    The outcome of every request is kept until the end, about 15 kB each. BackendMissing without
    the wheel, ValueError for a trace or physics that cannot be put to it.
    """
    initial = policy.replicas if isinstance(policy, Static) else scene.initial
    pools = Pools(initial)
    with tempfile.TemporaryDirectory(prefix="dynamo-replay-") as name:
        folder = Path(name)
        trace_file = folder / "trace.jsonl"
        workload = write(scene.trace, trace_file)
        if not workload.requests:
            raise ValueError(f"trace {scene.trace.name!r} holds no requests")
        hook = Hook(
            policy,
            Gauge(
                window=Window(),
                kv_capacity_tokens=scene.physics.decode.kv_capacity_tokens,
                input_length_cv=scene.settings.input_length_cv,
            ),
            pools,
            tick_seconds=tick_seconds or scene.tick_seconds,
            first_seconds=workload.first_seconds,
        )
        hook.on_step = on_step
        engine = arguments(scene.physics, workload, folder)
        lasts_seconds = workload.last_seconds - workload.first_seconds
        result = run_trace_replay(
            trace_files=[str(trace_file)],
            trace_block_size=BLOCK_TOKENS,
            prefill_engine_args=engine.pools.prefill,
            decode_engine_args=engine.pools.decode,
            num_prefill_workers=initial.prefill,
            num_decode_workers=initial.decode,
            router_mode=engine.router_mode,
            max_sim_time_ms=1000 * (lasts_seconds + PATIENCE_SECONDS),
            capture_per_request=True,
            capture_planner_details=False,
            scaling_policy=hook,
        )
    scorer = _judged(result.per_request, scene.settings.slo)
    worker_seconds = PerRole.of(lambda role: float(result.summary[f"{role}_worker_seconds"]))
    gpu_seconds = worker_seconds.zip(scene.physics.gpus_per_replica).map(
        lambda pool: pool[0] * pool[1]
    )
    return scorer.score(
        requests=workload.requests,
        run_seconds=result.summary["duration_ms"] / 1000,
        gpu_seconds=sum(gpu_seconds),
        scaling_events=pools.scaling_events,
    )


def _judged(records: Sequence[Mapping[str, Any]], slo: Slo) -> Scorer:
    """Judge the requests that finished; one with a single token has an ITL of 0, as in our plant."""
    finished = [record for record in records if record["terminal_status"] == "completed"]

    def column(name: str, scale: float = 1.0) -> Floats:
        return scale * np.array([record[name] or 0.0 for record in finished], dtype=np.float64)

    scorer = Scorer(slo)
    scorer.finish(column("ttft_ms", 1e-3), column("itl_ms", 1e-3), column("input_length"))
    return scorer
