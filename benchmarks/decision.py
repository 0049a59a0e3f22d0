"""How long a decision takes on this machine, as JSON.

python benchmarks/decision.py [-o FILE]

CPU seconds of one process: what the code costs, not what else runs. Solves: the best of a few
rounds. Ticks: the mean and the worst of twelve in a row of a thousand pairs of pools that get what
they ask for, with two hours of history each; one in three closes a forecast cell. Decisions are
pure, so each tick is played twice and the quicker time counts: what else runs disturbs it less.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from policies.capacity import Capacity
from policies.config import PolicySettings, RoleSettings
from policies.coupling import solve
from policies.demand import Demand, Shape
from policies.engine import Engine
from policies.foresight import Foresight
from policies.lengths import Lengths
from policies.memory import Memory
from policies.profile import builtin
from policies.types import Latency, Observation, PerRole, PoolState

PROFILE = builtin("llama-3-70b-h100-fp8-tp2")
SHAPE = Shape(
    prompt_tokens=Lengths.lognormal(1155.0),
    prefix_hit_fraction=0.0,
    output_tokens=Lengths.lognormal(211.0),
)
ROUNDS = 5
PAIRS = 1000
FLEETS = 4  # different histories among them
TICK_SECONDS = 10.0
WARM_TICKS = 720
TICKS = 12
TICK_ROUNDS = 2


def ready(replicas: int) -> PoolState:
    """A pool of which all is there."""
    return PoolState(desired_replicas=replicas, ready_replicas=replicas)


def best_milliseconds(work: Callable[[], object]) -> float:
    """Shortest of a few rounds."""

    def once() -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    return 1000 * min(once() for _ in range(ROUNDS))


def solve_milliseconds(most: int, requests_per_second: float, gpu_budget: int | None) -> float:
    """One solve over a lattice of `most` x `most` pairs."""
    role = RoleSettings(max_replicas=most)
    settings = PolicySettings(prefill=role, decode=role, gpu_budget=gpu_budget)
    load = SHAPE.load_of(PROFILE, requests_per_second)
    return best_milliseconds(lambda: solve(Demand(load=load, shape=SHAPE), PROFILE, settings))


def foresight_milliseconds() -> float:
    """What is foreseen around one pair, where a decision is shown."""
    settings, load = PolicySettings(), SHAPE.load_of(PROFILE, 60.0)
    capacity = Capacity(PROFILE, settings, Demand(load=load, shape=SHAPE))
    pair = solve(capacity.demand, PROFILE, settings).replicas
    return best_milliseconds(lambda: Foresight.steady(replace(capacity))(pair))


def observation(at_seconds: float, fleet: int) -> Observation:
    """What one of several fleets sees: a slow wave with minutes of its own, and queues."""
    wave = math.sin(at_seconds / 1800.0 + fleet) + 0.2 * math.sin(at_seconds / 45.0 * (1 + fleet))
    return Observation(
        observed_at_seconds=at_seconds,
        window_seconds=60.0,
        requests_per_second=60.0 + 15.0 * wave,
        arrival_dispersion=1.1,
        input_tokens=SHAPE.prompt_tokens,
        output_tokens_mean=211.0,
        ttft=Latency(mean_seconds=0.4, p95_seconds=0.9),
        itl=Latency(mean_seconds=0.021, p95_seconds=0.03),
        waiting_requests=PerRole(2.0, 1.0),
        running_requests=PerRole(6.0, 250.0),
        kv_usage_fraction=0.5,
        kv_transfer_backlog_requests=1.0,
    )


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of pools and what is remembered of it."""

    pools: PerRole[PoolState]
    memory: Memory

    def after(self, engine: Engine, seen: Observation, now_seconds: float) -> Pair:
        """The pair after a tick, with the replicas that were asked for in it."""
        decision, memory = engine.decide(seen, self.pools, self.memory, now_seconds)
        return Pair(decision.target.map(ready) if decision.target else self.pools, memory)


def warmed(engine: Engine, fleet: int) -> Pair:
    """A pair that has been watched for two hours."""
    pair = Pair(PerRole(8, 4).map(ready), Memory())
    for count in range(WARM_TICKS):
        now = TICK_SECONDS * count
        pair = pair.after(engine, observation(now, fleet), now)
    return pair


def ticks() -> dict[str, float]:
    """Ticks of a thousand pairs of pools in one process, by whether they close a forecast cell."""
    engine = Engine(PROFILE, PolicySettings())
    fleets = [warmed(engine, fleet) for fleet in range(FLEETS)]
    pairs = [fleets[count % FLEETS] for count in range(PAIRS)]
    cell_seconds = engine.settings.forecast.step_seconds
    taken: dict[bool, list[float]] = {True: [], False: []}
    for count in range(WARM_TICKS, WARM_TICKS + TICKS):
        now = TICK_SECONDS * count
        seen = [observation(now, fleet) for fleet in range(FLEETS)]
        seconds, after = [], pairs
        for _ in range(TICK_ROUNDS):
            began = time.process_time()
            after = [pair.after(engine, seen[i % FLEETS], now) for i, pair in enumerate(pairs)]
            seconds.append(time.process_time() - began)
        pairs = after
        closes = now // cell_seconds > (now - TICK_SECONDS) // cell_seconds
        taken[closes].append(min(seconds))
    every = taken[True] + taken[False]
    return {
        "tick_closing_a_cell_milliseconds": 1000 * fmean(taken[True]) / PAIRS,
        "tick_closing_no_cell_milliseconds": 1000 * fmean(taken[False]) / PAIRS,
        "tick_of_1000_pairs_mean_seconds": fmean(every),
        "tick_of_1000_pairs_worst_seconds": max(every),
    }


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
    result["foresight_milliseconds"] = round(foresight_milliseconds(), 3)
    result |= {name: round(value, 3) for name, value in ticks().items()}
    text = json.dumps(result, indent=2)
    if output:
        output.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
