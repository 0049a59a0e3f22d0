"""Policies in Dynamo's own replay, with its engines as they come. A table, or JSON.

python benchmarks/dynamo_replay.py [TRACE[:RATE]...] [--policies A,B,...] [--initial P+D] [-o FILE]

A policy written as P+D is a fixed fleet; coupled:0.8 aims for 80% of requests, coupled:0.8:3 has 3
GPUs at most. Ours know the engines by a profile that is measured first, in Dynamo's replay, as one
would measure a real engine. Without a TRACE it plays the three public ones from the folder that
TRACES names, the Azure ones at the rates in `USUAL`. A Mooncake trace at its own rate is given to
Dynamo as it is; others are converted. Beside ours it prints what Dynamo's own planner reached on
the same trace in the same replay. Needs the extra `dynamo`; without it, says so and measures none.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from policies.config import PolicySettings, RoleSettings, Slo
from policies.profile import DecodeLaw, PrefillLaw, Profile, TransferLaw
from policies.types import PerRole
from replay.backends.dynamo.engine import EngineArguments
from replay.backends.dynamo.run import Stage
from replay.backends.dynamo.runtime import run_trace_replay
from replay.backends.dynamo.workload import BLOCK_TOKENS, Workload, write
from replay.backends.errors import BackendMissingError
from replay.baselines.registry import CONTENDERS
from replay.physics import Physics, Router
from replay.requests import Requests
from replay.scene import TICK_SECONDS, Scene
from replay.simulator import Policy, Static
from replay.traces import Trace, of_requests, open_trace
from replay.traces.shape import scale_rate

STARTUP_SECONDS = 60.0
POLICIES = (
    "2+1,3+2,4+2,6+3,hpa,queue_proportional,independent_load,independent_throughput,rate_reactive,"
    "coupled,coupled:0.9,coupled:0.6,coupled:0.5:3,coupled:0.5:2"
)
USUAL = {
    "mooncake/conversation_trace.jsonl": 1.0,
    "azure-2023/AzureLLMInferenceTrace_code.csv": 3.0,
    "azure-2023/AzureLLMInferenceTrace_conv.csv": 6.0,
}
# (attained, GPU-hours) of the planner of Dynamo 1.6.1, run with its own packages, which do not go
# beside ours; not measured by this script. Same trace, engines, objectives and start-up time; the
# size at its start was not recorded.
DYNAMOS_OWN = {
    ("conversation_trace", 1.0): {
        "Dynamo easy:throughput": (0.519, 2.69),
        "Dynamo sla, load and throughput": (0.521, 2.86),
        "Dynamo sla, load": (0.509, 2.87),
        "Dynamo sla, throughput": (0.477, 2.04),
    }
}
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


class Entry(NamedTuple):
    """A contender or a fixed fleet by its name, what it aims for, and the GPUs it may have."""

    name: str
    aim: float = SETTINGS.slo.attainment_fraction
    gpus: int | None = SETTINGS.gpu_budget

    @classmethod
    def read(cls, text: str) -> Entry:
        """Read coupled, 2+1, coupled:0.8 or coupled:0.8:3."""
        name, *rest = text.split(":")
        return cls(name, *(kind(value) for kind, value in zip((float, int), rest, strict=False)))

    def settings(self) -> PolicySettings:
        """The usual ones but for aim and budget."""
        slo = SETTINGS.slo.model_copy(update={"attainment_fraction": self.aim})
        return SETTINGS.model_copy(update={"slo": slo, "gpu_budget": self.gpus})

    def policy(self, scene: Scene) -> tuple[Policy, float]:
        """A fresh one, and its pace."""
        if "+" in self.name:
            return Static(pair(self.name)), TICK_SECONDS
        contender = CONTENDERS[self.name]
        return contender.make(scene, contender.knobs()), contender.tick_seconds or TICK_SECONDS


def pair(text: str) -> PerRole[int]:
    """Read 2+1 as two prefill replicas and one decode replica."""
    prefill, decode = map(int, text.split("+"))
    return PerRole(prefill, decode)


def scene_of(
    trace: Trace, profile: Profile, settings: PolicySettings, initial: PerRole[int]
) -> Scene:
    """What our policies are made for."""
    startup = PerRole(STARTUP_SECONDS, STARTUP_SECONDS)
    return Scene(
        trace=trace,
        physics=Physics.from_profile(profile, startup_seconds=startup, router=Router.ROUND_ROBIN),
        truth=profile,
        profile=profile,
        settings=settings,
        initial=initial,
    )


def rows(profile: Profile, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Play every policy on every trace."""
    for path, rate in options.traces:
        trace = open_trace(path)
        as_it_is = path if trace.format == "mooncake" and rate == 1 else None
        trace = scale_rate(trace, rate)
        for text in options.policies.split(","):
            entry = Entry.read(text)
            scene = scene_of(trace, profile, entry.settings(), options.initial)
            policy, tick_seconds = entry.policy(scene)
            initial = policy.replicas if isinstance(policy, Static) else scene.initial
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                stage = stage_of(scene, as_it_is, initial, Path(folder))
                score = stage.play(policy, tick_seconds).as_dict()
            took = {"wall_seconds": time.perf_counter() - began}
            yield {"policy": text, "trace": path.stem, "rate_scale": rate, **score, **took}
        for name, (attained, gpu_hours) in DYNAMOS_OWN.get((path.stem, rate), {}).items():
            told = {"policy": name, "trace": path.stem, "rate_scale": rate, "published": True}
            yield told | {"joint_attainment": attained, "gpu_hours": gpu_hours}


def line(row: dict[str, Any]) -> str:
    """One row of a Markdown table; what is not measured here is in italics."""
    if row.get("published"):
        return (
            f"| *{row['policy']}* | *{row['joint_attainment']:.3f}* | - | - | - "
            f"| *{row['gpu_hours']:.2f}* | - |"
        )
    return (
        f"| {row['policy']} | {row['joint_attainment']:.3f} | {row['ttft_attainment']:.3f} "
        f"| {row['itl_attainment']:.3f} | {1000 * row['ttft_p99_seconds']:.0f} "
        f"| {row['gpu_hours']:.2f} | {row['scaling_events']} |"
    )


def trace_and_rate(text: str) -> tuple[Path, float]:
    """Read FILE or FILE:3."""
    path, colon, rate = text.rpartition(":")
    return (Path(path), float(rate)) if colon else (Path(text), 1.0)


def usual_traces() -> list[tuple[Path, float]]:
    """The public traces that are there."""
    folder = Path(os.environ.get("TRACES") or Path(__file__).parents[2] / "shared" / "traces")
    return [(folder / name, rate) for name, rate in USUAL.items() if (folder / name).is_file()]


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("traces", nargs="*", type=trace_and_rate, metavar="TRACE[:RATE]")
    parser.add_argument("--policies", default=POLICIES, metavar="A,B,..", help=POLICIES)
    parser.add_argument("--initial", type=pair, default=PerRole(2, 1), metavar="P+D")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="JSON")
    options = parser.parse_args()
    options.traces = options.traces or usual_traces()
    if not options.traces:
        sys.exit("SKIPPED, nothing measured: TRACES names no folder with the public traces")
    try:
        profile = measured_profile()
    except BackendMissingError as error:
        sys.exit(f"SKIPPED, nothing measured: {error}; or `make dynamo`")
    told = []
    heading = ("policy", "attained", "TTFT met", "ITL met", "TTFT p99 ms", "GPU-h", "events")
    sys.stdout.write(f"{profile.prefill}\n{profile.decode}\n")
    shown = None
    for row in rows(profile, options):
        told.append(row)
        title = f"{row['trace']}, rate x {row['rate_scale']:g}"
        if title != shown:
            shown = title
            sys.stdout.write(f"\n{title}\n\n| {' | '.join(heading)} |\n|{'---|' * len(heading)}\n")
        sys.stdout.write(line(row) + "\n")
        sys.stdout.flush()
    if options.output:
        found = {"profile": profile.model_dump(), "rows": told}
        options.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
