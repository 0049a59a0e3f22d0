"""`planner trace export`: record from Prometheus what the planner would have seen."""

from __future__ import annotations

import argparse
import asyncio
import math
import re
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from planner.clock import WallClock
from planner.commands.arguments import output_file, positive
from planner.config import load
from planner.errors import UserError
from planner.metrics.config import MetricsConfig, SourceKind
from planner.metrics.past import read_past
from planner.metrics.presets import PRESETS
from replay.traces.observed import write_observations

_MOST_STEPS = 1_000_000  # two years of minutes
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to read, which part of the past, and where to write."""
    add = parser.add_argument
    add(
        *("-c", "--config"),
        type=Path,
        metavar="FILE",
        help="configuration of `planner run`: its server, access, preset, labels and queries",
    )
    add("--prometheus", metavar="URL", help="server to read from, in place of the file's")
    add("--model", help="model name, as the serving stack labels it, in place of the file's")
    add(
        "--preset",
        choices=sorted(PRESETS),
        help="the stack's metric names (default: the file's, or dynamo)",
    )
    add("--namespace", help="Kubernetes namespace, in place of the file's")
    add("--start", required=True, help="2026-11-01T08:00, unix seconds, or back from now: 7d, 12h")
    add("--end", default="0s", help="the same (default: now)")
    add("--step", type=positive, default=60.0, help="seconds (default %(default)g)")
    add(
        "-o", "--output", type=output_file, required=True, metavar="FILE", help="recording to write"
    )
    parser.set_defaults(act=export)


def export(args: argparse.Namespace) -> int:
    """Read the past and write it; UserError when nothing can be read."""
    now = WallClock().now_seconds()
    start, end = _time(args.start, now), _time(args.end, now)
    if not start < end:
        raise UserError(f"--start {args.start} is not before --end {args.end}")
    if (steps := (end - start) / args.step) > _MOST_STEPS:
        raise UserError(
            f"--step {args.step:g}: {steps:.3g} steps to --end; at most {_MOST_STEPS:,} can be"
        )
    config = _config(args)
    past = asyncio.run(read_past(config, start, end, args.step))
    if not past.observations:
        why = "; ".join(past.problems) or f"no data between {args.start} and {args.end}"
        raise UserError(f"nothing to export: {why}")
    write_observations(args.output, past.observations, step_seconds=args.step, model=config.model)
    for problem in past.problems:
        print(f"warning: {problem}")
    known = sum(seen.requests_per_second is not None for seen in past.observations)
    print(
        f"{args.output}: {len(past.observations)} observations, {known} with an arrival rate; "
        f"`planner replay {args.output}` plays it"
    )
    return 0


def _config(args: argparse.Namespace) -> MetricsConfig:
    """The file's metrics, if one is given, with what the arguments say in place of it."""
    said = {
        "url": args.prometheus,
        "model": args.model,
        "preset": args.preset,
        "namespace": args.namespace,
        "window_seconds": max(args.step, 60.0),
        "source": SourceKind.PROMETHEUS if args.prometheus else None,
    }
    given = {name: value for name, value in said.items() if value is not None}
    written = load(args.config).metrics.model_dump(exclude_unset=True) if args.config else {}
    if not {"url", "model"} <= {**written, **given}.keys():
        raise UserError("give --prometheus and --model, or a --config that has both")
    try:
        return MetricsConfig.model_validate({**written, **given})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _time(text: str, now_seconds: float) -> float:
    """Read a time; a bare date and hour is in UTC."""
    if back := re.fullmatch(r"-?(\d+(?:\.\d+)?)([smhd])", text):
        return now_seconds - float(back[1]) * _UNITS[back[2]]
    try:
        if math.isfinite(seconds := float(text)):
            return seconds
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{text!r} is no time such as 2026-11-01T08:00 or 7d") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
