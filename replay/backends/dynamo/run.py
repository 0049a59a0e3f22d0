"""One run in Dynamo's replay, of a scene or of a fleet described in Dynamo's own words."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from policies.config import PolicySettings
from policies.types import PerRole
from replay.backends.dynamo.engine import EngineArguments, arguments
from replay.backends.dynamo.hook import Hook
from replay.backends.dynamo.runtime import run_trace_replay
from replay.backends.dynamo.snapshot import Gauge, Pools, Window
from replay.backends.dynamo.workload import BLOCK_TOKENS, Workload, write
from replay.requests import Floats
from replay.scene import Scene
from replay.scoring import Score, Scorer
from replay.simulator import PATIENCE_SECONDS, Policy, Static, Step

_BATCH_ROWS = 10_000


def play(
    scene: Scene,
    policy: Policy,
    *,
    tick_seconds: float | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Score:
    """Run a policy in Dynamo's replay; a fixed fleet starts as such.

    Takes about 3 kB of disk a request while it runs. BackendMissingError without the wheel,
    ValueError for physics that Dynamo's replay cannot do.
    """
    with tempfile.TemporaryDirectory(prefix="dynamo-replay-") as name:
        folder = Path(name)
        trace_file = folder / "trace.jsonl"
        workload = write(scene.trace, trace_file)
        stage = Stage(
            folder=folder,
            trace_file=trace_file,
            block_tokens=BLOCK_TOKENS,
            workload=workload,
            engine=arguments(scene.physics, workload, folder),
            kv_capacity_tokens=scene.physics.decode.kv_capacity_tokens,
            gpus_per_replica=scene.physics.gpus_per_replica,
            settings=scene.settings,
            initial=policy.replicas if isinstance(policy, Static) else scene.initial,
        )
        return stage.play(policy, tick_seconds or scene.tick_seconds, on_step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A trace file and the fleet that it meets, with a folder for what Dynamo writes.

    `kv_capacity_tokens` is one decode replica's.
    """

    folder: Path
    trace_file: Path
    block_tokens: int
    workload: Workload
    engine: EngineArguments
    kv_capacity_tokens: float
    gpus_per_replica: PerRole[int]
    settings: PolicySettings
    initial: PerRole[int]

    def play(
        self,
        policy: Policy,
        tick_seconds: float,
        on_step: Callable[[Step], None] | None = None,
    ) -> Score:
        """Run a policy from the first request to the last token, or an hour past the last one."""
        pools = Pools(self.initial)
        gauge = Gauge(
            window=Window(),
            kv_capacity_tokens=self.kv_capacity_tokens,
            input_length_cv=self.settings.input_length_cv,
        )
        hook = Hook(
            policy,
            gauge,
            pools,
            tick_seconds=tick_seconds,
            first_seconds=self.workload.first_seconds,
        )
        hook.on_step = on_step
        report = self.folder / "report.jsonl"
        summary = self._replay(hook, report).summary
        scorer = Scorer(self.settings.slo)
        for records in _batches(report):
            scorer.finish(*_finished(records))
        gpu_seconds = PerRole.of(
            lambda role: summary[f"{role}_worker_seconds"] * self.gpus_per_replica[role]
        )
        return scorer.score(
            requests=self.workload.requests,
            run_seconds=summary["duration_ms"] / 1000,
            gpu_seconds=sum(gpu_seconds),
            scaling_events=pools.scaling_events,
        )

    def _replay(self, hook: Hook, report: Path) -> Any:  # noqa: ANN401 - Dynamo's result
        lasts_seconds = self.workload.last_seconds - self.workload.first_seconds
        return run_trace_replay(
            trace_files=[str(self.trace_file)],
            trace_block_size=self.block_tokens,
            prefill_engine_args=self.engine.pools.prefill,
            decode_engine_args=self.engine.pools.decode,
            num_prefill_workers=self.initial.prefill,
            num_decode_workers=self.initial.decode,
            router_mode=self.engine.router_mode,
            router_queue_threshold=self.engine.router_queue_threshold,
            max_sim_time_ms=1000 * (lasts_seconds + PATIENCE_SECONDS),
            report_jsonl_path=str(report),
            capture_planner_details=False,
            scaling_policy=hook,
        )


def _batches(report: Path) -> Iterator[list[dict[str, Any]]]:
    """The outcome of every request, which takes 15 kB while it is a dictionary."""
    with report.open(encoding="utf-8") as lines:
        while batch := [json.loads(line) for line in itertools.islice(lines, _BATCH_ROWS)]:
            yield batch


def _finished(records: Sequence[Mapping[str, Any]]) -> tuple[Floats, Floats, Floats]:
    """TTFT and ITL in seconds, and prompt tokens, of the requests that ended well.

    One of a single token has no gap between tokens: its ITL is 0, as in our plant.
    """
    done = [record for record in records if record["terminal_status"] == "completed"]
    ttft, itl, tokens = (
        np.array([record[name] or 0.0 for record in done], dtype=np.float64)
        for name in ("ttft_ms", "itl_ms", "input_length")
    )
    return ttft / 1000, itl / 1000, tokens
