"""How good the decision is, against what it is held to. A Markdown table, and JSON.

python benchmarks/decision_quality.py [--quick] [--only NAME,..] [--startup 30,120,300]
    [--profile-error=-0.2,0,0.2] [--seeds N] [--policies A,B,..] [--through STACK:SECONDS]
    [--bounds FILE] [-o FILE]

Knobs are the defaults, the same for all workloads. Without --startup and --profile-error every
workload is played with start-ups of 30, 120 and 300 s on the fleet of the profile, and with 120 s
on fleets 20% faster and slower; with either of them, every combination of what is given. A bound
takes about 60 replays; --bounds keeps them in a file between runs. --quick and --no-bound compute
none and use those that are in the file. With several --seeds the table is followed by one of the
mean and the worst over them; traces of recorded requests are the same by all seeds.
The folder of public traces is named by TRACES (default ../shared/traces).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quality_bounds import Bounds
from quality_criteria import Against, failures, unknown
from quality_place import USUAL_STARTUP_SECONDS, Place, known_names, present
from quality_seeds import over_seeds
from quality_workloads import RECIPES

from planner.metrics.exporters import EXPORTERS
from planner.metrics.scraped_fleet import StackLens
from replay.baselines.registry import BOUND, CEILING, CONTENDERS, COUPLED
from replay.compare import Run, as_dict, play

STARTUPS_SECONDS = (30.0, 120.0, 300.0)
PROFILE_ERRORS = (0.0, -0.2, 0.2)
QUICK = ("sample", "steps", "flash-crowd")
POLICIES = (COUPLED, "rate_reactive", "hpa", CEILING)
HEADING = (
    *("workload", "start-up s", "error", "policy", "attains", "GPU-h", "/bound", "bound attains"),
    *("events/h", "flaps", "drain s", "held to", "verdict"),
)


def places(options: argparse.Namespace) -> Iterator[Place]:
    """Every workload asked for, on every fleet asked for."""
    for recipe in present(options.only):
        for startup_seconds, profile_error in fleets(options):
            for seed in range(options.seeds):
                yield Place(recipe, startup_seconds, profile_error, seed, lens=options.through)


def fleets(options: argparse.Namespace) -> list[tuple[float, float]]:
    """(start-up seconds, profile error) of each."""
    if options.startup or options.profile_error:
        startups = options.startup or (USUAL_STARTUP_SECONDS,)
        return [(s, e) for s in startups for e in options.profile_error or (0.0,)]
    if options.quick:
        return [(USUAL_STARTUP_SECONDS, 0.0)]
    return [(startup, 0.0) for startup in STARTUPS_SECONDS] + [
        (USUAL_STARTUP_SECONDS, error) for error in PROFILE_ERRORS if error
    ]


def rows(place: Place, policies: Sequence[str], bounds: Bounds | None) -> list[dict[str, Any]]:
    """Play every policy in one place, and judge ours."""
    runs: dict[str, Run] = {}
    seconds: dict[str, float] = {}
    for policy in policies:
        began = time.perf_counter()
        runs[policy] = play(place.case(policy))
        seconds[policy] = time.perf_counter() - began
    against = compared(place, runs, bounds)
    return [
        row(place, run, against) | {"wall_seconds": round(seconds[policy], 1)}
        for policy, run in runs.items()
    ]


def compared(place: Place, runs: dict[str, Run], bounds: Bounds | None) -> Against:
    """The figures that runs in this place are set against.

    A run that attains what the bound's schedule did for less takes its place, as in `compare`.
    """
    bound = bounds.of(place.key, place.case(BOUND)) if bounds else None
    cheaper = [
        run.score.gpu_hours
        for run in runs.values()
        if bound and (run.score.joint_attainment or 0.0) >= bound.joint_attainment
    ]
    ceiling, hpa = runs.get(CEILING), runs.get("hpa")
    return Against(
        bound_gpu_hours=min([bound.gpu_hours, *cheaper]) if bound else None,
        bound_attainment=bound.joint_attainment if bound else None,
        ceiling_attainment=ceiling.score.joint_attainment if ceiling else None,
        hpa_events_per_hour=hpa.scaling_events_per_hour if hpa else None,
    )


def row(place: Place, run: Run, against: Against) -> dict[str, Any]:
    """What is told of one run. Only ours is held to anything."""
    bound = against.bound_gpu_hours
    told = as_dict(run) | {
        "startup_seconds": place.startup_seconds,
        "profile_error": place.profile_error,
        "gpu_hours_over_bound": run.score.gpu_hours / bound if bound else None,
        "bound_attainment": against.bound_attainment,
        "ceiling_attainment": against.ceiling_attainment,
        "hpa_events_per_hour": against.hpa_events_per_hour,
    }
    if run.case.policy != COUPLED:
        return told
    criterion = place.recipe.criterion
    return told | {
        "held_to": str(criterion),
        "failures": failures(run, criterion, against),
        "unknown": unknown(criterion, against),
    }


def line(told: dict[str, Any]) -> str:
    """One row of the Markdown table."""
    cells = (
        *(told["trace"], f"{told['startup_seconds']:g}", f"{told['profile_error']:+.0%}"),
        *(told["policy"], share(told["joint_attainment"]), f"{told['gpu_hours']:.2f}"),
        number(told["gpu_hours_over_bound"], ".2f"),
        *(share(told["bound_attainment"]), f"{told['scaling_events_per_hour']:.1f}"),
        *(str(told["flaps"]), f"{told['drain_seconds']:.0f}"),
        *(told.get("held_to", "-"), verdict(told)),
    )
    return f"| {' | '.join(cells)} |"


def verdict(told: dict[str, Any]) -> str:
    """Pass, or what is not met; what could not be judged is said too."""
    if "failures" not in told:
        return "-"
    failed = "; ".join(told["failures"])
    without = ", ".join(told["unknown"])
    return (f"FAIL: {failed}" if failed else "pass") + (f" (not against {without})" * bool(without))


def share(value: float | None) -> str:
    """A percentage."""
    return "-" if value is None else f"{100 * value:.2f}%"


def number(value: float | None, form: str) -> str:
    """A number that may be unknown."""
    return "-" if value is None else format(value, form)


def numbers(text: str) -> tuple[float, ...]:
    """Read 30,120,300."""
    return tuple(float(part) for part in text.split(","))


def lens(text: str) -> StackLens:
    """Read dynamo:15."""
    stack, _, seconds = text.partition(":")
    if stack not in EXPORTERS:
        raise argparse.ArgumentTypeError(f"no {stack}; there are {', '.join(EXPORTERS)}")
    return StackLens(stack=stack, scrape_seconds=float(seconds or 15))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    add = parser.add_argument
    add("--quick", action="store_true", help=f"{', '.join(QUICK)} at 120 s: about three minutes")
    add("--only", type=known_names(tuple(RECIPES)), metavar="NAME,..", help=", ".join(RECIPES))
    add("--startup", type=numbers, metavar="SECONDS,..")
    add("--profile-error", type=numbers, metavar="FRACTION,..")
    add("--seeds", type=int, default=1, metavar="N", help="0 to N - 1, then mean and worst")
    add("--policies", type=known_names(tuple(CONTENDERS)), default=POLICIES, metavar="A,B,..")
    add("--through", type=lens, metavar="STACK:SECONDS", help="see fleets by scrapes of a stack")
    add("--bounds", type=Path, metavar="FILE", help="keeps bounds between runs")
    add("--no-bound", action="store_true", help="compute none; those in --bounds are used")
    add("-o", "--output", type=Path, metavar="FILE", help="JSON, written as rows come")
    options = parser.parse_args()
    options.only = options.only or (QUICK if options.quick else tuple(RECIPES))
    return options


def main() -> None:
    """Play, judge and print."""
    options = arguments()
    bounds = Bounds(options.bounds, compute=not (options.no_bound or options.quick))
    print(f"| {' | '.join(HEADING)} |\n|{'---|' * len(HEADING)}", flush=True)
    told: list[dict[str, Any]] = []
    for place in places(options):
        found = rows(place, options.policies, bounds)
        told += found
        print("\n".join(map(line, found)), flush=True)
        if options.output:
            options.output.write_text(json.dumps(told, indent=2) + "\n")
    if options.seeds > 1:
        print("", *over_seeds(told), sep="\n")
    judged = [each for each in told if "failures" in each]
    passed = sum(not each["failures"] for each in judged)
    print(f"\n{passed} of {len(judged)} rows pass")


if __name__ == "__main__":
    main()
