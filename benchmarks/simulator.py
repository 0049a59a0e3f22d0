"""How fast the simulators are on this machine, as JSON.

python benchmarks/simulator.py [--plain] [--requests N] [--long-requests N] [-o FILE]

CPU seconds of one process, compiled code loaded beforehand. Memory is the growth of the peak
resident set over that of the same run with 1,000 requests, each run in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from policies.profile import builtin
from policies.types import PerRole
from replay.fluid import Demand, flow
from replay.physics import Physics
from replay.plant import Plant
from replay.requests import Requests

PROFILE = "llama-3-8b-h100-fp8-tp1"
REQUESTS_PER_SECOND_PER_REPLICA = 20.0  # about half of what prefill sustains at 1,000 tokens
INPUT_TOKENS, OUTPUT_TOKENS = 1000.0, 200.0
BLOCK = 100_000
WEEK_SECONDS = 7 * 86_400


def physics() -> Physics:
    """The fleet that is measured."""
    return Physics.from_profile(builtin(PROFILE), startup_seconds=PerRole(60.0, 60.0))


def blocks(count: int, per_second: float) -> Iterator[Requests]:
    """Poisson arrivals with exponential lengths, made as they are needed."""
    random = np.random.default_rng(0)
    begin = 0.0
    for first in range(0, count, BLOCK):
        size = min(BLOCK, count - first)
        arrivals = begin + np.cumsum(random.exponential(1 / per_second, size))
        begin = float(arrivals[-1])
        yield Requests(
            arrivals,
            np.ceil(random.exponential(INPUT_TOKENS, size)),
            np.ceil(random.exponential(OUTPUT_TOKENS, size)),
            np.zeros(size),
        )


def plant_run(replicas: int, count: int, *, compiled: bool) -> dict[str, float]:
    """Stream `count` requests through `replicas` of each role, taking outcomes on the way."""
    plant = Plant(physics(), PerRole(replicas, replicas), compiled=compiled)
    plant.advance(0.0)
    seconds, finished = 0.0, 0
    for block in blocks(count, REQUESTS_PER_SECOND_PER_REPLICA * replicas):
        began = time.process_time()
        plant.offer(block)
        plant.advance(float(block.arrival_seconds[-1]))
        plant.take_first_tokens()
        finished += len(plant.take_finished())
        seconds += time.process_time() - began
    return {
        "requests": count,
        "finished_requests": finished,
        "requests_per_second": count / seconds,
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def fluid_run(*, compiled: bool) -> dict[str, float]:
    """A week of seconds with a daily wave."""
    wave = 40 * (1 + np.sin(np.arange(WEEK_SECONDS) * 2 * np.pi / 86_400))
    same = np.ones(WEEK_SECONDS)
    demand = Demand(
        step_seconds=1.0,
        requests_per_second=wave,
        input_tokens=INPUT_TOKENS * same,
        computed_tokens=INPUT_TOKENS * same,
        output_tokens=OUTPUT_TOKENS * same,
    )
    ready = PerRole(4 * same, 4 * same)
    flow(physics(), demand, ready, compiled=compiled)
    spent = []
    for _ in range(5 if compiled else 1):
        began = time.process_time()
        flow(physics(), demand, ready, compiled=compiled)
        spent.append(time.process_time() - began)
    return {"milliseconds_per_week": 1000 * min(spent)}


def apart(function: object, *args: object, **options: object) -> dict[str, float]:
    """Run in a new process, so that peak memory is that of this run alone."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result: dict[str, float] = pool.apply(function, args, options)  # type: ignore[arg-type]
    return result


def measure(*, requests: int, long_requests: int, compiled: bool) -> dict[str, object]:
    """Everything, as it is written out."""
    empty = apart(plant_run, 8, 1000, compiled=compiled)
    sizes = {f"{n}+{n}": apart(plant_run, n, requests, compiled=compiled) for n in (2, 8, 32)}
    long = apart(plant_run, 8, long_requests, compiled=compiled)
    for run in (*sizes.values(), long):
        run["memory_growth_mib"] = run.pop("peak_memory_mib") - empty["peak_memory_mib"]
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "profile": PROFILE,
        "compiled": compiled,
        "plant": sizes,
        "plant_8+8_long": long,
        "fluid": apart(fluid_run, compiled=compiled),
    }


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--plain", action="store_true", help="without numba")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--long-requests", type=int, default=10_000_000)
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    options = parser.parse_args()
    result = measure(
        requests=options.requests,
        long_requests=options.long_requests,
        compiled=not options.plain,
    )
    text = json.dumps(result, indent=2) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
