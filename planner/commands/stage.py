"""What `replay` and `compare` have in common: the traces, the fleet and the configuration."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planner.commands.arguments import positive, rate_scale
from planner.commands.trace_reading import add_reading_arguments, reading_options
from planner.config import DEFAULT_PROFILE, ReplayConfig, load_for_replay, load_profile
from planner.errors import UserError
from planner.metrics.exporters import EXPORTERS
from planner.metrics.scraped_fleet import StackLens
from replay.baselines.registry import CONTENDERS
from replay.baselines.rule import Knobs
from replay.compare import SAMPLE, Stage, Workload
from replay.traces import TraceError


def add_stage_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that set the stage."""
    add_reading_arguments(parser)
    add = parser.add_argument
    add("-c", "--config", type=Path, metavar="FILE", help="configuration; default: the built-in")
    add("--profile", help=f"built-in name, or a path (default {DEFAULT_PROFILE})")
    add(
        "--rate-scale",
        type=rate_scale,
        default=1.0,
        metavar="N|auto",
        help="multiply the arrivals; auto: until the peak needs about 12 replicas (default 1)",
    )
    add(
        "--startup-seconds",
        type=positive,
        metavar="S",
        help="start-up time of both roles, known to the policies; default: the configuration's",
    )
    add(
        "--profile-error",
        type=_error,
        default=0.0,
        metavar="X",
        help="the fleet is slower than the profile by this much, unknown to the policies: 0.2 is "
        "20%%, -0.2 is faster (default 0)",
    )
    add(
        "--through",
        choices=EXPORTERS,
        metavar="STACK",
        help="policies see the fleet as that stack's metrics show it, scraped and asked in PromQL "
        f"as a live planner does: {', '.join(EXPORTERS)}; default: as it is",
    )
    add(
        "--scrape-seconds",
        type=positive,
        default=15.0,
        metavar="S",
        help="time between two scrapes, with --through (default 15)",
    )
    add(
        "--knob",
        action="append",
        default=[],
        metavar="POLICY.KNOB=VALUE",
        help="set a policy's knob, e.g. hpa.target_fraction=0.6; may be repeated",
    )
    add("--json", action="store_true", help="print one JSON object, all else on stderr")


@dataclass(frozen=True, slots=True)
class Setting:
    """The stage, and what to call the configuration that it came from."""

    stage: Stage
    configuration: str


def setting_of(args: argparse.Namespace) -> Setting:
    """Read the configuration and apply what the command line says differently."""
    config = load_for_replay(args.config) if args.config else ReplayConfig()
    name = args.profile or config.profile
    beside = args.config.parent if args.config and not args.profile else None
    profile, settings = load_profile(name, beside), config.policy
    if args.startup_seconds is not None:
        startup = {"startup_seconds": args.startup_seconds}
        settings = settings.model_copy(
            update={role: pool.model_copy(update=startup) for role, pool in settings.roles.items()}
        )
    slo = settings.slo
    told = (
        f"{args.config or 'built-in defaults'}: profile {profile.name}, "
        f"TTFT {slo.ttft_seconds:g} s and ITL {slo.itl_seconds * 1000:g} ms "
        f"for {slo.attainment_fraction:.0%} of requests, start-up "
        f"{settings.prefill.startup_seconds:g} s"
    )
    if args.through:
        told += f"; seen through {args.through}, scraped every {args.scrape_seconds:g} s"
    stage = Stage(
        profile=profile,
        settings=settings,
        profile_error=args.profile_error,
        tick_seconds=config.tick_seconds,
        lens=lens_of(args),
    )
    return Setting(stage, told)


def lens_of(args: argparse.Namespace) -> StackLens | None:
    """What policies see the fleet through; UserError where rates could not be told of it."""
    if args.through is None:
        return None
    lens = StackLens(stack=args.through, scrape_seconds=args.scrape_seconds)
    if lens.scrape_seconds > lens.window_seconds / 2:
        raise UserError(
            f"--scrape-seconds {args.scrape_seconds:g}: a rate over {lens.window_seconds:g} s "
            "takes two scrapes; take half of that at most"
        )
    return lens


def workload_of(trace: str, args: argparse.Namespace, stage: Stage) -> Workload:
    """Find a trace, and its rate where that is automatic; UserError when it cannot be used."""
    path = None if trace == SAMPLE and not Path(trace).exists() else Path(trace)
    try:
        workload = Workload(
            path=path, rate_scale=args.rate_scale or 1.0, options=reading_options(args)
        )
        if args.rate_scale is None:
            return workload.scaled_automatically(stage.profile, stage.settings.slo)
        workload.unscaled()
    except TraceError as error:
        raise UserError(str(error)) from None
    return workload


def knobs_of(args: argparse.Namespace, played: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read and check `--knob`, per policy; UserError names the knobs that there are."""
    found: dict[str, dict[str, Any]] = {}
    for text in args.knob:
        target, separator, value = text.partition("=")
        policy, dot, knob = target.partition(".")
        if not separator or not dot:
            raise UserError(f"--knob {text}: write it as POLICY.KNOB=VALUE")
        if known_policy(policy) not in played:
            raise UserError(f"--knob {text}: {policy} is not played, only {', '.join(played)}")
        found.setdefault(policy, {})[knob] = value
    return {policy: _checked(policy, values) for policy, values in found.items()}


def _checked(policy: str, values: dict[str, str]) -> dict[str, Any]:
    model: type[Knobs] = CONTENDERS[policy].knobs
    try:
        return model.model_validate(values).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        knob = ".".join(map(str, first["loc"]))
        raise UserError(
            f"--knob {policy}.{knob}: {first['msg'].lower()}; "
            f"{policy} has: {', '.join(model.model_fields)}"
        ) from None


def known_policy(name: str) -> str:
    """Pass a policy's name through; UserError lists them when there is none of that name."""
    if name in CONTENDERS:
        return name
    width = max(map(len, CONTENDERS))
    listing = "\n".join(f"  {n:<{width}}  {c.summary}" for n, c in CONTENDERS.items())
    raise UserError(f"no policy {name!r}; there are:\n{listing}")


def _error(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not -0.9 <= value <= 9.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from -0.9 to 9")
    return value
