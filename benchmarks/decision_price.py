"""What the objective costs: GPU-hours of every policy where each just attains it.

python benchmarks/decision_price.py [--only NAME,..] [--startup SECONDS] [--policies A,..] [-o FILE]

Each policy's headroom (it is shown, or aims for, that many times the load) is moved up from 1 until
the objective is met, or down until it is not, and the GPU-hours between are interpolated. Ours is
held to no more than the same model without a forecast (within 2%), and to 12% less than all others
on the day whose mix shifts. Ours learns no speeds meanwhile: it would take part of the headroom
back, and the fleet is as its profile says.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quality_place import USUAL_STARTUP_SECONDS, Place, known_names, present
from quality_workloads import RECIPES

from replay.baselines.registry import CEILING, CONTENDERS, COUPLED
from replay.compare import SEARCHES, Run, play
from replay.standings import price_of_objective

HEADROOMS = (0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0)
REACTIVE = "rate_reactive"
SHIFTS = "ratio-shift-day"
POLICIES = tuple(
    name
    for name in CONTENDERS
    if name not in (*SEARCHES, CEILING, "independent", "separate", "static")
)
MOST = {True: 1.02, False: 0.88}  # over rate_reactive; over all others, where the mix shifts
HEADING = (
    *("workload", "policy", "attains", "GPU-h", "headroom at objective", "GPU-h at objective"),
    *("ours over it", "held to", "verdict"),
)


def swept(place: Place, policy: str) -> list[Run]:
    """Runs at headroom 1 and on from there, until the objective is met, or no longer is."""
    start = HEADROOMS.index(1.0)
    runs = [play(place.case(policy))]
    step = -1 if attains(runs[0]) else 1
    others = HEADROOMS[:start][::-1] if step < 0 else HEADROOMS[start + 1 :]
    for headroom in others:
        runs.append(play(place.case(policy, headroom=headroom)))
        if attains(runs[-1]) != attains(runs[0]):
            break
    return runs


def attains(run: Run) -> bool:
    """Whether a run meets the objective."""
    objective = run.case.stage.settings.slo.attainment_fraction
    return (run.score.joint_attainment or 0.0) >= objective


def rows(place: Place, policies: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Ours first, then the others against it."""
    ours: float | None = None
    for policy in (COUPLED, *(name for name in policies if name != COUPLED)):
        runs = swept(place, policy)
        objective = runs[0].case.stage.settings.slo.attainment_fraction
        headroom, price = price_of_objective(runs, objective) or (None, None)
        told = {
            "trace": place.recipe.name,
            "policy": policy,
            "startup_seconds": place.startup_seconds,
            "joint_attainment": runs[0].score.joint_attainment,
            "gpu_hours": runs[0].score.gpu_hours,
            "headroom_at_objective": headroom,
            "gpu_hours_at_objective": price,
            "tried": [
                (
                    run.case.knobs.get("headroom", 1.0),
                    run.score.joint_attainment,
                    run.score.gpu_hours,
                )
                for run in runs
            ],
        }
        if policy == COUPLED:
            ours = price
            yield told
        else:
            yield told | judged(place.recipe.name, policy, ours, price)


def judged(trace: str, policy: str, ours: float | None, theirs: float | None) -> dict[str, Any]:
    """What ours is held to against one policy, and whether it meets that."""
    most = MOST[policy == REACTIVE] if policy == REACTIVE or trace == SHIFTS else None
    if ours is None:
        return {"held_to": most, "passes": most is None, "why": "ours never attains"}
    if theirs is None:
        return {"held_to": most, "passes": True, "why": "never attains"}
    over = ours / theirs
    return {"ours_over_it": over, "held_to": most, "passes": most is None or over <= most}


def line(told: dict[str, Any]) -> str:
    """One row of the Markdown table."""
    passes, most = told.get("passes"), told.get("held_to")
    verdict = "-" if passes is None or most is None else "pass" if passes else "FAIL"
    cells = (
        *(told["trace"], told["policy"], f"{100 * (told['joint_attainment'] or 0):.2f}%"),
        *(f"{told['gpu_hours']:.2f}", number(told["headroom_at_objective"])),
        *(number(told["gpu_hours_at_objective"]), number(told.get("ours_over_it"))),
        *("-" if most is None else f"<= {most:g}", f"{verdict} {told.get('why', '')}".strip()),
    )
    return f"| {' | '.join(cells)} |"


def number(value: float | None) -> str:
    """A number that may not be there."""
    return "-" if value is None else f"{value:.2f}"


def main() -> None:
    """Sweep and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--only", type=known_names(tuple(RECIPES)), default=(SHIFTS,), metavar="NAME,..")
    add("--startup", type=float, default=USUAL_STARTUP_SECONDS, metavar="SECONDS")
    add("--policies", type=known_names(POLICIES), default=POLICIES, metavar="A,B,..")
    add("-o", "--output", type=Path, metavar="FILE", help="JSON, written as rows come")
    options = parser.parse_args()
    print(f"| {' | '.join(HEADING)} |\n|{'---|' * len(HEADING)}", flush=True)
    told: list[dict[str, Any]] = []
    for recipe in present(options.only):
        place = Place(recipe, options.startup, settings={"calibrate": False})
        for row in rows(place, options.policies):
            told.append(row)
            print(line(row), flush=True)
            if options.output:
                options.output.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
