"""What role switching, warm standby and deflected prefill could gain at most, as a Markdown table.

python benchmarks/elastic_options.py [--only NAME,..] [--bounds FILE] [-o FILE]

Every row is our engine on start-ups of 120 s, but for what is said:
- `every start takes 5 s`: as if every replica that is wanted were one that switches its role;
- `+1 standby each`: one more replica of each role than the engine wants, ready and billed;
- `decode prefills too`: every decode replica also is a prefill replica, at full speed, at no cost
  to its decoding and none in GPUs: more than deflection can be;
- `headroom 1.15`: sized for 15% more than is seen, as what money buys without any of these.
With --bounds, also the clairvoyant's for 120 and 5 s. `switchable` is the share of started GPUs for
which the other role gave some up within one start-up time: only these could have switched.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from quality_bounds import Bounds
from quality_place import USUAL_STARTUP_SECONDS, Place, known_names, present
from quality_workloads import RECIPES, Recipe

from policies.memory import Memory
from policies.types import Decision, Observation, PerRole, Pools, PoolState
from replay.baselines.registry import BOUND, CONTENDERS, COUPLED
from replay.scene import TICK_SECONDS, Scene
from replay.scoring import Score
from replay.simulator import Policy, Step

SWITCH_SECONDS = 5.0
USUAL = ("ratio-shift", "steps", "flash-crowd", "bursts")
HEADING = ("workload", "what", "attains", "TTFT met", "GPU-h", "events", "switchable")


@dataclass(frozen=True, slots=True)
class WithExtra:
    """A policy whose fleet has replicas that it does not know of.

    That is `count` of each role and, if `decode_prefills`, a prefill one beside each decode one.
    """

    policy: Policy
    count: int = 0
    decode_prefills: bool = False

    def decide(
        self, observation: Observation, pools: Pools, memory: Memory, now_seconds: float
    ) -> tuple[Decision, Memory]:
        """Hide the extra replicas from the policy, and add them to what it wants."""
        decode = pools.decode
        own = pools.map(lambda pool: self._fewer(pool, self.count))
        if self.decode_prefills and isinstance(decode, PoolState):
            own = PerRole(self._fewer(own.prefill, decode.desired_replicas), own.decode)
        decision, memory = self.policy.decide(observation, own, memory, now_seconds)
        if decision.target is None:
            return decision, memory
        target = decision.target.map(lambda size: size + self.count)
        if self.decode_prefills:
            target = PerRole(target.prefill + target.decode, target.decode)
        # The extra ones are not there at the start: ask for them whatever the policy holds.
        return replace(decision, target=target, hold=None), memory

    def _fewer(self, pool: Any, count: int) -> Any:  # noqa: ANN401 - a PoolState or Unavailable
        if not isinstance(pool, PoolState):
            return pool
        desired = max(1, pool.desired_replicas - count)
        return replace(
            pool, desired_replicas=desired, ready_replicas=max(0, pool.ready_replicas - count)
        )


class Sizes:
    """The sizes asked for over time."""

    def __init__(self) -> None:
        self.pairs: list[PerRole[int]] = []

    def add(self, step: Step) -> None:
        """See one tick."""
        if step.decision.target is not None:
            self.pairs.append(step.decision.target)

    def switchable(self, gpus: PerRole[int], startup_seconds: float) -> float | None:
        """Share of GPUs started while the other role gave some up, by spans of one start-up."""
        every = max(1, round(startup_seconds / TICK_SECONDS))
        sizes = np.array([[p.prefill * gpus.prefill, p.decode * gpus.decode] for p in self.pairs])
        changes = np.diff(sizes[::every], axis=0)
        started = np.maximum(changes, 0).sum()
        opposite = changes[:, 0] * changes[:, 1] < 0
        switched = np.abs(changes[opposite]).min(axis=1).sum()
        return float(switched / started) if started else None

    def decode_gpu_hours(self, gpus: PerRole[int]) -> float:
        """What prefill beside every decode replica was billed."""
        return sum(p.decode for p in self.pairs) * gpus.prefill * TICK_SECONDS / 3600


def played(place: Place, headroom: float = 1.0, **extra: Any) -> tuple[Score, Sizes, Scene]:  # noqa: ANN401
    """Our engine there, with extra replicas or without."""
    case = place.case(COUPLED)
    scene = case.stage.scene(case.workload.open(case.seed), seed=case.seed)
    contender, sizes = CONTENDERS[COUPLED], Sizes()
    policy = contender.make(scene, contender.knobs(headroom=headroom))
    score = scene.play(WithExtra(policy, **extra) if extra else policy, on_step=sizes.add)
    return score, sizes, scene


def rows(recipe: Recipe, bounds: Bounds | None) -> Iterator[dict[str, Any]]:
    """Every option on one workload."""
    slow, quick = Place(recipe, USUAL_STARTUP_SECONDS), Place(recipe, SWITCH_SECONDS)
    score, sizes, scene = played(slow)
    gpus = scene.truth.gpus_per_replica
    share = sizes.switchable(gpus, USUAL_STARTUP_SECONDS)
    yield row(recipe, "as it is", score) | {"switchable": share}
    yield row(recipe, "every start takes 5 s", played(quick)[0])
    yield row(recipe, "+1 standby each", played(slow, count=1)[0])
    # Else the engine learns that prefill is twice as fast, and has less of its own.
    trusting = replace(slow, settings={"calibrate": False})
    score, sizes, _ = played(trusting, decode_prefills=True)
    free = {"gpu_hours": score.gpu_hours - sizes.decode_gpu_hours(gpus)}
    yield row(recipe, "decode prefills too", score) | free
    yield row(recipe, "headroom 1.15", played(slow, headroom=1.15)[0])
    for place in (slow, quick) if bounds else ():
        bound = bounds.of(place.key, place.case(BOUND)) if bounds else None
        if bound:
            yield {
                "trace": recipe.name,
                "what": f"clairvoyant, {place.startup_seconds:g} s",
                "joint_attainment": bound.joint_attainment,
                "gpu_hours": bound.gpu_hours,
            }


def row(recipe: Recipe, what: str, score: Score) -> dict[str, Any]:
    """What is told of one run."""
    return {"trace": recipe.name, "what": what, **score.as_dict()}


def line(told: dict[str, Any]) -> str:
    """One row of the Markdown table."""
    cells = (
        *(told["trace"], told["what"], share(told["joint_attainment"])),
        *(share(told.get("ttft_attainment")), f"{told['gpu_hours']:.2f}"),
        *(str(told.get("scaling_events", "-")), share(told.get("switchable"))),
    )
    return f"| {' | '.join(cells)} |"


def share(value: float | None) -> str:
    """A percentage."""
    return "-" if value is None else f"{100 * value:.2f}%"


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--only", type=known_names(tuple(RECIPES)), default=USUAL, metavar="NAME,..")
    add("--bounds", type=Path, metavar="FILE", help="keeps bounds between runs")
    add("-o", "--output", type=Path, metavar="FILE", help="JSON, written as rows come")
    options = parser.parse_args()
    bounds = Bounds(options.bounds) if options.bounds else None
    print(f"| {' | '.join(HEADING)} |\n|{'---|' * len(HEADING)}", flush=True)
    told = []
    for recipe in present(options.only):
        for each in rows(recipe, bounds):
            told.append(each)
            print(line(each), flush=True)
            if options.output:
                options.output.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
