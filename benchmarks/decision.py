"""How long a decision takes on this machine, as JSON.

python benchmarks/decision.py [-o FILE]

Wall seconds in one process, the best of a few rounds: what the code costs, not what else runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

from policies.config import PolicySettings, RoleSettings
from policies.coupling import solve
from policies.demand import Demand, Shape
from policies.engine import Engine
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.types import Observation, PerRole, PoolState

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SHAPE = Shape(
    prompt_tokens=Lengths.lognormal(1155.0),
    prefix_hit_fraction=0.0,
    output_tokens=Lengths.lognormal(211.0),
)
ROUNDS = 5
PAIRS = 1000
WARM_TICKS = 240


def best_milliseconds(work: Callable[[], object]) -> float:
    """Shortest of a few rounds."""

    def once() -> float:
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    return 1000 * min(once() for _ in range(ROUNDS))


def solve_milliseconds(most: int, requests_per_second: float, gpu_budget: int | None) -> float:
    """One solve over a lattice of `most` x `most` pairs."""
    role = RoleSettings(max_replicas=most)
    settings = PolicySettings(prefill=role, decode=role, gpu_budget=gpu_budget)
    load = SHAPE.load_of(PROFILE, requests_per_second)
    return best_milliseconds(lambda: solve(Demand(load=load, shape=SHAPE), PROFILE, settings))


def tick(engine: Engine, memory: Memory, at_seconds: float) -> Memory:
    """One whole decision."""
    observation = Observation(
        observed_at_seconds=at_seconds,
        window_seconds=60.0,
        requests_per_second=60.0 + 5.0 * (at_seconds // 15 % 7),
        input_tokens=SHAPE.prompt_tokens,
        output_tokens_mean=211.0,
    )
    pools = PerRole(8, 4).map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))
    return engine.decide(observation, pools, memory, at_seconds)[1]


def ticks() -> dict[str, float]:
    """A tick with an hour of history, and one tick of a thousand such pairs of pools."""
    engine, memory = Engine(PROFILE, PolicySettings()), Memory()
    for i in range(WARM_TICKS):
        memory = tick(engine, memory, 15.0 * i)
    now = 15.0 * WARM_TICKS

    def all_pairs() -> None:
        for _ in range(PAIRS):
            tick(engine, memory, now)

    thousand = best_milliseconds(all_pairs)
    return {"tick_milliseconds": thousand / PAIRS, "tick_of_1000_pairs_seconds": thousand / 1000}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    output = parser.parse_args().output
    cases = {
        "solve_64x64_milliseconds": (64, 300.0, None),
        "solve_64x64_scarce_milliseconds": (64, 300.0, 64),
        "solve_1000x1000_milliseconds": (1000, 9000.0, None),
        "solve_1000x1000_scarce_milliseconds": (1000, 9000.0, 1000),
    }
    result: dict[str, object] = {"machine": platform.processor() or platform.machine()}
    result |= {name: round(solve_milliseconds(*case), 3) for name, case in cases.items()}
    result |= {name: round(value, 3) for name, value in ticks().items()}
    text = json.dumps(result, indent=2)
    if output:
        output.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
