"""Policies in Dynamo's own replay, with its engines as they come. A table, or JSON.

python benchmarks/dynamo_replay.py TRACE... [--policies A,B,...] [--initial P+D]
    [--rate-scale N] [--attainment X] [--json]

A policy written as P+D is a fixed fleet. Ours know the engines by a profile that is measured first,
in Dynamo's replay, as one would measure a real engine. A Mooncake trace at its own rate is given to
Dynamo as it is; others are converted. Needs the extra `dynamo`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from policies.config import PolicySettings, RoleSettings, Slo
from policies.profile import DecodeLaw, PrefillLaw, Profile, TransferLaw
from policies.types import PerRole
from replay.backends.dynamo.engine import EngineArguments
from replay.backends.dynamo.run import Stage
from replay.backends.dynamo.runtime import run_trace_replay
from replay.backends.dynamo.workload import BLOCK_TOKENS, Workload, write
from replay.baselines.registry import CONTENDERS
from replay.physics import Physics, Router
from replay.requests import Requests
from replay.scene import TICK_SECONDS, Scene
from replay.simulator import Policy, Static
from replay.traces import Trace, of_requests, open_trace
from replay.traces.shape import scale_rate

STARTUP_SECONDS = 60.0
BYTES_PER_TOKEN, BYTES_PER_SECOND = 131_072, 64e9
KV_BLOCKS = 16_384
MOONCAKE_BLOCK_TOKENS = 512
PROMPTS = (512, 1024, 2048, 4096, 8192, 12_288, 16_384, 24_576, 32_768, 65_536)
BATCHES = (1, 4, 8, 16, 24, 32, 48, 64)  # of 8,192 tokens each: up to half of the KV memory
SETTINGS = PolicySettings(
    slo=Slo(ttft_seconds=2.0, itl_seconds=0.025),
    prefill=RoleSettings(startup_seconds=STARTUP_SECONDS, max_replicas=16),
    decode=RoleSettings(startup_seconds=STARTUP_SECONDS, max_replicas=16),
    gpu_budget=16,
    routing="round_robin",
)


def engines() -> EngineArguments:
    """Dynamo's defaults, with a KV hand-off and a start-up time."""
    return EngineArguments(
        pools=PerRole.of(
            lambda role: {
                "engine": {
                    "worker_type": role.value,
                    "block_size": BLOCK_TOKENS,
                    "num_gpu_blocks": KV_BLOCKS,
                    "kv_transfer_bytes_per_token": BYTES_PER_TOKEN,
                    "kv_transfer_bandwidth": BYTES_PER_SECOND / 1e9,
                },
                "startup_time": STARTUP_SECONDS,
            }
        )
    )


def probe(requests: Requests, workers: PerRole[int]) -> list[dict[str, Any]]:
    """What became of these requests in a fleet of this size, in order of arrival."""
    pools = engines().pools
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.jsonl"
        write(of_requests("probe", requests), path)
        result = run_trace_replay(
            trace_files=[str(path)],
            trace_block_size=BLOCK_TOKENS,
            prefill_engine_args=pools.prefill,
            decode_engine_args=pools.decode,
            num_prefill_workers=workers.prefill,
            num_decode_workers=workers.decode,
            capture_per_request=True,
            router_queue_threshold=None,
        )
    return sorted(result.per_request, key=lambda record: record["arrival_time_ms"])


def measured_profile() -> Profile:
    """Least squares over single prompts, and over batches that arrive at once."""
    alone = Requests.of(range(0, 100 * len(PROMPTS), 100), PROMPTS, [2] * len(PROMPTS))
    records = probe(alone, PerRole(1, 1))
    seconds = [(r["source_held_ms"] - r["prefill_admit_ms"]) / 1000 for r in records]
    # Relative errors count: a short prompt's milliseconds matter as much to it.
    prefill = np.polyfit(PROMPTS, seconds, 2, w=1 / np.array(seconds))
    itl = []
    for batch in BATCHES:
        together = Requests.of([0.0] * batch, [8192] * batch, [50] * batch)
        records = probe(together, PerRole(batch, 1))
        itl.append(float(np.mean([r["itl_ms"] for r in records])) / 1000)
    decode = np.polyfit([batch * (8192 + 25) for batch in BATCHES], itl, 1)
    return Profile(
        name="dynamo-polynomial",
        source="measured in Dynamo's replay by benchmarks/dynamo_replay.py",
        prefill_gpus_per_replica=1,
        decode_gpus_per_replica=1,
        prefill=PrefillLaw(
            base_seconds=max(prefill[2], 0.0),
            seconds_per_token=prefill[1],
            seconds_per_squared_token=max(prefill[0], 0.0),
        ),
        transfer=TransferLaw(
            base_seconds=0.0, bytes_per_token=BYTES_PER_TOKEN, bytes_per_second=BYTES_PER_SECOND
        ),
        decode=DecodeLaw(
            base_seconds=decode[1],
            seconds_per_sequence=0.0,
            seconds_per_context_token=decode[0],
            kv_capacity_tokens=KV_BLOCKS * BLOCK_TOKENS,
        ),
    )


def stage_of(scene: Scene, mooncake: Path | None, initial: PerRole[int], folder: Path) -> Stage:
    """A Mooncake file as it is, else the scene's trace converted."""
    if mooncake:
        lines = [json.loads(line) for line in mooncake.read_text(encoding="utf-8").splitlines()]
        times = [line["timestamp"] / 1000 for line in lines]
        file, block_tokens = mooncake, MOONCAKE_BLOCK_TOKENS
        workload = Workload(requests=len(lines), first_seconds=min(times), last_seconds=max(times))
    else:
        file, block_tokens = folder / "trace.jsonl", BLOCK_TOKENS
        workload = write(scene.trace, file)
    return Stage(
        folder=folder,
        trace_file=file,
        block_tokens=block_tokens,
        workload=workload,
        engine=engines(),
        kv_capacity_tokens=KV_BLOCKS * BLOCK_TOKENS,
        gpus_per_replica=PerRole(1, 1),
        settings=scene.settings,
        initial=initial,
    )


def policy_of(name: str, scene: Scene) -> tuple[Policy, float]:
    """A contender by its name, or a fixed fleet written as 2+1; and its pace."""
    if "+" in name:
        return Static(pair(name)), TICK_SECONDS
    contender = CONTENDERS[name]
    return contender.make(scene, contender.knobs()), contender.tick_seconds or TICK_SECONDS


def pair(text: str) -> PerRole[int]:
    """Read 2+1 as two prefill replicas and one decode replica."""
    prefill, decode = map(int, text.split("+"))
    return PerRole(prefill, decode)


def scene_of(trace: Trace, profile: Profile, options: argparse.Namespace) -> Scene:
    """What our policies are made for."""
    slo = SETTINGS.slo.model_copy(update={"attainment_fraction": options.attainment})
    startup = PerRole(STARTUP_SECONDS, STARTUP_SECONDS)
    return Scene(
        trace=scale_rate(trace, options.rate_scale),
        physics=Physics.from_profile(profile, startup_seconds=startup, router=Router.ROUND_ROBIN),
        truth=profile,
        profile=profile,
        settings=SETTINGS.model_copy(update={"slo": slo}),
        initial=options.initial,
    )


def rows(profile: Profile, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Play every policy on every trace."""
    for path in options.traces:
        trace = open_trace(path)
        scene = scene_of(trace, profile, options)
        as_it_is = trace.format == "mooncake" and options.rate_scale == 1
        for name in options.policies.split(","):
            policy, tick_seconds = policy_of(name, scene)
            with tempfile.TemporaryDirectory() as folder:
                stage = stage_of(
                    scene,
                    path if as_it_is else None,
                    policy.replicas if isinstance(policy, Static) else scene.initial,
                    Path(folder),
                )
                began = time.perf_counter()
                score = stage.play(policy, tick_seconds).as_dict()
            wall_seconds = time.perf_counter() - began
            yield {"policy": name, "trace": path.stem, **score, "wall_seconds": wall_seconds}


def line(row: dict[str, Any]) -> str:
    """One row of a Markdown table."""
    return (
        f"| {row['policy']} | {row['joint_attainment']:.3f} | {row['ttft_attainment']:.3f} "
        f"| {row['itl_attainment']:.3f} | {1000 * row['ttft_p99_seconds']:.0f} "
        f"| {row['gpu_hours']:.2f} | {row['scaling_events']} |"
    )


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("traces", nargs="+", type=Path, metavar="TRACE")
    parser.add_argument("--policies", default="2+1,3+2,hpa,independent_load,rate_reactive,coupled")
    parser.add_argument("--initial", type=pair, default=PerRole(2, 1), metavar="P+D")
    parser.add_argument("--rate-scale", type=float, default=1.0)
    parser.add_argument("--attainment", type=float, default=0.99, help="what ours aim for")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    profile = measured_profile()
    found = rows(profile, options)
    if options.json:
        told = {"profile": profile.model_dump(), "rows": list(found)}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    sys.stdout.write(f"{profile.prefill}\n{profile.decode}\n")
    heading = ("policy", "attained", "TTFT met", "ITL met", "TTFT p99 ms", "GPU-h", "events")
    shown = ""
    for row in found:
        if row["trace"] != shown:
            shown = row["trace"]
            sys.stdout.write(f"\n{shown}\n\n| {' | '.join(heading)} |\n|{'---|' * len(heading)}\n")
        sys.stdout.write(line(row) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
