"""`planner replay`: one policy against one trace, on a simulated fleet."""

from __future__ import annotations

import argparse
import json
from typing import Any

from planner.clock import Stopwatch
from planner.commands.stage import (
    add_stage_arguments,
    knobs_of,
    known_policy,
    setting_of,
    workload_of,
)
from planner.errors import UserError
from replay.backends import BACKENDS, NATIVE, BackendMissingError
from replay.baselines.registry import COUPLED
from replay.compare import Case, as_dict, play
from replay.report import run_text
from replay.traces import TraceError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The trace, the policy and the stage."""
    add = parser.add_argument
    add("trace", metavar="TRACE", help="path of a trace, or `sample`")
    add("--policy", default=COUPLED, metavar="NAME", help="default: %(default)s, our engine")
    add(
        "--backend",
        choices=BACKENDS,
        default=NATIVE,
        help="the simulator: ours, or Dynamo's own replay, which docs/simulator.md sets beside it "
        "(default %(default)s)",
    )
    add_stage_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Replay and print; exit code 0 however well the policy did."""
    policy = known_policy(args.policy)
    setting = setting_of(args)
    if setting.stage.lens and args.backend != NATIVE:
        raise UserError(f"--through needs the simulator {NATIVE}: {args.backend} shows no metrics")
    workload = workload_of(args.trace, args, setting.stage)
    knobs = knobs_of(args, [policy]).get(policy, {})
    case = Case(
        policy=policy,
        workload=workload,
        stage=setting.stage,
        seed=args.seed,
        knobs=knobs,
        backend=args.backend,
    )
    watch = Stopwatch()
    try:
        done = play(case)
    except (TraceError, BackendMissingError) as error:
        raise UserError(str(error)) from None
    wall = watch.seconds
    told: dict[str, Any] = {
        **as_dict(done),
        "rate_scale": workload.rate_scale,
        "configuration": setting.configuration,
        "wall_seconds": wall,
        "simulated_requests_per_second": done.score.requests / wall,
    }
    print(json.dumps(told) if args.json else run_text(told))
    return 0
