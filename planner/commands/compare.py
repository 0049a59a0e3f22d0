"""`planner compare`: policies side by side on traces, against a clairvoyant bound."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from planner.commands.arguments import output_file, positive_int
from planner.commands.stage import (
    Setting,
    add_stage_arguments,
    knobs_of,
    known_policy,
    setting_of,
    workload_of,
)
from planner.errors import UserError
from replay.baselines.registry import BOUND, CONTENDERS, COUPLED
from replay.compare import SEARCHES, Case, Run, Workload, play_all
from replay.report import html_page, png_chart, table_text
from replay.standings import Row, standings
from replay.traces import TraceError
from replay.traces.trace import skipped_lines

DEFAULT_POLICIES = f"{COUPLED},rate_reactive,hpa,static_peak,{BOUND}"
_HEADROOMS = (0.7, 0.85, 1.2, 1.5, 2.0)  # beside 1.0, which every comparison plays


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The traces, the policies, the stage and the kind of output."""
    add = parser.add_argument
    add("traces", nargs="+", metavar="TRACE", help="paths of traces, or `sample`")
    add(
        "--policies",
        default=DEFAULT_POLICIES,
        metavar="A,B,...",
        help=f"any of {', '.join(CONTENDERS)}, or `all` (default %(default)s)",
    )
    add("--seeds", type=positive_int, default=1, metavar="N", help="runs of each, from --seed on")
    add(
        "--equal-attainment",
        action="store_true",
        help="sweep each policy's headroom for the GPU-hours that the objective takes it",
    )
    add(
        "--processes",
        type=positive_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="runs at a time (default: one a core)",
    )
    add("--html", type=output_file, metavar="FILE", help="write one page with charts")
    add("--png", type=output_file, metavar="FILE", help="write the main chart as a picture")
    add_stage_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Play everything and print the standings."""
    policies = _policies(args.policies)
    knobs = _knobs(policies, args)
    setting = setting_of(args)
    workloads = [workload_of(trace, args, setting.stage) for trace in args.traces]
    if len({workload.name for workload in workloads}) < len(workloads):
        raise UserError("two traces have the same name; results are told apart by it")
    cases = list(_cases(policies, knobs, workloads, setting, args))
    with Progress(len(cases)) as progress:
        try:
            runs = play_all(cases, processes=args.processes, on_run=progress.done)
        except TraceError as error:
            raise UserError(str(error)) from None
    rows = standings(runs)
    heading = "\n".join([setting.configuration, *_read(workloads, runs)])
    if args.json:
        told = {
            "configuration": setting.configuration,
            "rate_scales": {workload.name: workload.rate_scale for workload in workloads},
            "bad_lines": {run.case.workload.name: run.bad_lines for run in runs},
            "seeds": args.seeds,
            "rows": [row.as_dict() for row in rows],
        }
        print(json.dumps(told))
    else:
        print(f"{heading}\n\n{table_text(rows)}")
    if args.html:
        args.html.write_text(html_page(rows, runs, heading), encoding="utf-8")
    if args.png:
        _write_png(args.png, rows)
    return 0


def _read(workloads: list[Workload], runs: list[Run]) -> Iterator[str]:
    """How each trace was read."""
    one_of = {run.case.workload.name: run for run in runs}
    for workload in workloads:
        yield f"{workload.name}: rate x {workload.rate_scale:g}"
        run = one_of[workload.name]
        yield from skipped_lines(run.bad_lines, run.bad_line_examples)


def _policies(text: str) -> list[str]:
    names = list(CONTENDERS) if text == "all" else [name.strip() for name in text.split(",")]
    if not any(names):
        raise UserError(f"--policies {text!r} names none; there are: {', '.join(CONTENDERS)}")
    return list(dict.fromkeys(known_policy(name) for name in names if name))


def _knobs(policies: list[str], args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    found = knobs_of(args, policies)
    twice = [name for name, own in found.items() if "headroom" in own]
    if args.equal_attainment and twice:
        raise UserError(f"--knob {twice[0]}.headroom: --equal-attainment sweeps it; leave one out")
    return found


def _cases(
    policies: list[str],
    knobs: dict[str, dict[str, Any]],
    workloads: list[Workload],
    setting: Setting,
    args: argparse.Namespace,
) -> Iterator[Case]:
    for workload in workloads:
        for policy in policies:
            sweep = args.equal_attainment and policy not in SEARCHES
            for headroom in (1.0, *_HEADROOMS) if sweep else (None,):
                own = dict(knobs.get(policy, {}))
                if headroom is not None:
                    own["headroom"] = headroom
                for seed in range(args.seed, args.seed + args.seeds):
                    yield Case(
                        policy=policy,
                        workload=workload,
                        stage=setting.stage,
                        seed=seed,
                        knobs=own,
                    )


def _write_png(path: Path, rows: list[Row]) -> None:
    try:
        png_chart(rows, path)
    except ModuleNotFoundError:
        raise UserError(
            "--png needs matplotlib: pip install 'pd-planner[replay]', or use --html"
        ) from None


class Progress:
    """A bar on stderr where that is a terminal, else one line a run."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._bar = sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._show("")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            print(file=sys.stderr)

    def done(self, run: Run) -> None:
        """Note that a run is finished."""
        self._done += 1
        self._show(f"{run.case.policy} on {run.case.workload.name}")

    def _show(self, what: str) -> None:
        if self._bar:
            filled = 30 * self._done // self._total
            bar = "#" * filled + "." * (30 - filled)
            line = f"\r[{bar}] {self._done}/{self._total} {what:<50.50}"
            print(line, end="", file=sys.stderr, flush=True)
        elif what:
            print(f"{self._done}/{self._total} {what}", file=sys.stderr, flush=True)
