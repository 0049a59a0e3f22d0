"""What coupling is worth where something that both roles share is scarce.

python benchmarks/decision_scarce.py [--only NAME,..] [--startup SECONDS] [-o FILE]

Ours against the same engine with each role solved alone (`independent`, where each knows its own
end of the KV link; on narrow links `separate` as well, where neither knows of it), with
- a GPU budget 10% and 20% below what the busiest five minutes need, by our solve;
- KV links of which the pair for the busiest five minutes would use 95%, and 190%;
- decode memory so small that a run in plenty would have filled 95% of it.
Held to 10 points more attainment, or to 15% fewer GPU-hours for as much of it (within a point).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from quality_place import USUAL_STARTUP_SECONDS, Place, known_names, present
from quality_workloads import RECIPES, Recipe

from policies.capacity import Capacity
from policies.coupling import solve
from policies.demand import Demand
from policies.profile import Profile
from replay.baselines.registry import CONTENDERS, COUPLED
from replay.compare import Run, play
from replay.simulator import Step
from replay.sizing import offered

ALONE, BLIND = "independent", "separate"
NEAR, BEYOND = 0.95, 1.9
SHORT = (0.1, 0.2)
LINK = "KV link"
WINDOW_SECONDS = 300.0
USUAL = ("sample", "ratio-shift")
HEADING = (
    *("workload", "scarce", "coupled attains", "GPU-h", "against", "attains", "GPU-h"),
    *("points", "GPU-hours over it", "verdict"),
)


def demands(place: Place) -> list[Demand]:
    """What each five minutes ask for."""
    stage = place.case(COUPLED).stage
    windows = offered(
        place.recipe.open(place.seed),
        stage.profile,
        stage.settings,
        window_seconds=WINDOW_SECONDS,
    )
    return [windows.peak_demand(slice(at, at + 1)) for at in range(len(windows))]


def needed_gpus(place: Place) -> int:
    """What the busiest five minutes need."""
    stage = place.case(COUPLED).stage
    return max(solve(demand, stage.profile, stage.settings).gpus for demand in demands(place))


def narrow(place: Place, share: float) -> Profile:
    """The profile with links of which the pair of the busiest five minutes would use `share`."""
    stage = place.case(COUPLED).stage
    profile = stage.profile
    used = max(
        Capacity(profile, stage.settings, demand).link_utilisation(
            solve(demand, profile, stage.settings).replicas
        )
        for demand in demands(place)
    )
    transfer = profile.transfer
    slower = {"bytes_per_second": transfer.bytes_per_second * used / share}
    return profile.model_copy(update={"transfer": transfer.model_copy(update=slower)})


def small(place: Place) -> Profile:
    """The profile with the decode memory that a run in plenty would have filled to 95%."""
    case = place.case(COUPLED)
    scene = case.stage.scene(case.workload.open(case.seed), seed=case.seed)
    fullest = 0.0

    def see(step: Step) -> None:
        nonlocal fullest
        fullest = max(fullest, step.observation.kv_usage_fraction or 0.0)

    contender = CONTENDERS[COUPLED]
    scene.play(contender.make(scene, contender.knobs()), on_step=see)
    decode = scene.profile.decode
    smaller = {"kv_capacity_tokens": round(decode.kv_capacity_tokens * fullest / NEAR)}
    return scene.profile.model_copy(update={"decode": decode.model_copy(update=smaller)})


def places(recipe: Recipe, startup_seconds: float) -> Iterator[tuple[str, Place]]:
    """The same workload on fleets that lack one thing each."""
    plenty = Place(recipe, startup_seconds)
    needed = needed_gpus(plenty)
    for budget in dict.fromkeys(int(needed * (1 - share)) for share in SHORT):
        short = replace(plenty, settings={"gpu_budget": budget})
        yield f"GPUs: {budget} of {needed}", short
    for share in (NEAR, BEYOND):
        link = narrow(plenty, share)
        gigabytes = link.transfer.bytes_per_second / 1e9
        yield f"{LINK}: {gigabytes:.2g} GB/s, {share:.0%} used", replace(plenty, profile=link)
    memory = small(plenty)
    tokens = memory.decode.kv_capacity_tokens
    yield f"decode memory: {tokens:,.0f} tokens", replace(plenty, profile=memory)


def rows(what: str, place: Place) -> Iterator[dict[str, Any]]:
    """Our engine there, beside those that solve each role alone."""
    joint = play(place.case(COUPLED))
    blind = (BLIND,) if what.startswith(LINK) else ()
    for policy in (ALONE, *blind):
        alone = play(place.case(policy))
        points = 100 * (attained(joint) - attained(alone))
        over = joint.score.gpu_hours / alone.score.gpu_hours
        yield {
            "trace": place.recipe.name,
            "scarce": what,
            "startup_seconds": place.startup_seconds,
            "coupled_attainment": attained(joint),
            "coupled_gpu_hours": joint.score.gpu_hours,
            "against": policy,
            "attainment": attained(alone),
            "gpu_hours": alone.score.gpu_hours,
            "points": points,
            "gpu_hours_over": over,
            "passes": points >= 10 or (over <= 0.85 and points >= -1),
        }


def attained(run: Run) -> float:
    """Joint attainment, 0 without requests."""
    return run.score.joint_attainment or 0.0


def line(told: dict[str, Any]) -> str:
    """One row of the Markdown table."""
    cells = (
        *(told["trace"], told["scarce"]),
        *(f"{100 * told['coupled_attainment']:.2f}%", f"{told['coupled_gpu_hours']:.2f}"),
        *(told["against"], f"{100 * told['attainment']:.2f}%", f"{told['gpu_hours']:.2f}"),
        *(f"{told['points']:+.1f}", f"{told['gpu_hours_over']:.2f}"),
        "pass" if told["passes"] else "FAIL",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--only", type=known_names(tuple(RECIPES)), default=USUAL, metavar="NAME,..")
    add("--startup", type=float, default=USUAL_STARTUP_SECONDS, metavar="SECONDS")
    add("-o", "--output", type=Path, metavar="FILE", help="JSON, written as rows come")
    options = parser.parse_args()
    print(f"| {' | '.join(HEADING)} |\n|{'---|' * len(HEADING)}", flush=True)
    told = []
    for recipe in present(options.only):
        for what, place in places(recipe, options.startup):
            for each in rows(what, place):
                told.append(each)
                print(line(each), flush=True)
                if options.output:
                    options.output.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
