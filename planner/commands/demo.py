"""`planner demo`: the live service in control of a simulated fleet, in accelerated time."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from planner import logs
from planner.clock import Stopwatch
from planner.commands.arguments import port, positive, rate_scale, whole
from planner.config import DEFAULT_PROFILE, load_profile
from planner.demo import Demo
from planner.errors import UserError
from planner.offer import Offer, make_offer
from planner.service import listening, until_signalled
from planner.terminal import Terminal, hours
from policies.config import PolicySettings, RouterSettings
from replay.traces import Trace, TraceError, open_trace
from replay.traces.sample import sample_trace

_HOST = "127.0.0.1"
_RUN_SECONDS = 90.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The workload, the pace and the kind of output."""
    add = parser.add_argument
    add("--trace", type=Path, metavar="PATH", help="requests to replay; default: a sample workload")
    add("--skip-bad-lines", action="store_true", help="count a trace's bad lines; don't stop there")
    add(
        "--rate-scale",
        type=rate_scale,
        metavar="N|auto",
        help="multiply the arrivals; auto (the default): until the peak needs about 12 replicas",
    )
    add("--seed", type=whole, default=0, help="of the sample workload and of copied requests")
    add("--profile", default=DEFAULT_PROFILE, help="built-in name, or a path (default %(default)s)")
    add(
        "--speed",
        type=positive,
        metavar="X",
        help=f"simulated seconds per real one (default: so that it lasts {_RUN_SECONDS:g} s)",
    )
    add(
        "--router",
        type=positive,
        metavar="R",
        help="attach a front end, each of whose replicas carries R requests/s of the scaled trace",
    )
    add("--port", type=port, default=8080, help="of the page (default %(default)s)")
    add("--headless", action="store_true", help="no page, and no waiting unless --speed is given")
    add("--json", action="store_true", help="print the summary as JSON, all else on stderr")


def run(args: argparse.Namespace) -> int:
    """Replay the workload and print what it took; Ctrl-C ends it early with what there is."""
    watch = Stopwatch()
    logs.configure("warning", "text")
    settings = PolicySettings(router=_router(args.router))
    terminal = Terminal(sys.stderr if args.json else sys.stdout, settings.slo)
    try:
        trace = _trace(args)
        profile = load_profile(args.profile)
        offer = make_offer(trace, profile, settings, factor=args.rate_scale, seed=args.seed)
        terminal.say(_opening(offer))
        demo = Demo(
            offer,
            speed=_speed(args, offer),
            listener=terminal.show,
            foresee=not args.headless,
        )
        asyncio.run(_play(demo, None if args.headless else args.port, terminal))
        terminal.say("comparing with a static fleet ...")
        outcome = demo.outcome()
    except TraceError as error:
        raise UserError(str(error)) from None
    if args.json:
        print(json.dumps({**outcome.as_dict(), "wall_seconds": watch.seconds}))
    else:
        print(outcome.as_text())
    return 0


def _router(requests_per_second: float | None) -> RouterSettings | None:
    if requests_per_second is None:
        return None
    return RouterSettings(requests_per_second_per_replica=requests_per_second)


def _trace(args: argparse.Namespace) -> Trace:
    if args.trace is None:
        return sample_trace(args.seed)
    return open_trace(args.trace, skip_bad_lines=args.skip_bad_lines)


def _speed(args: argparse.Namespace, offer: Offer) -> float:
    if args.speed is not None:
        return float(args.speed)
    return math.inf if args.headless else max(1.0, offer.span_seconds / _RUN_SECONDS)


def _opening(offer: Offer) -> str:
    what = (
        f"{offer.scene.trace.name}: {offer.requests:,} requests in {hours(offer.span_seconds)} "
        f"(arrivals x {offer.rate_scale:g}), {offer.scene.profile.name}"
    )
    compiling = "\ncompiling the simulator, once on this machine: about 20 s ..."
    return what + compiling * offer.must_compile


async def _play(demo: Demo, page_port: int | None, terminal: Terminal) -> None:
    async with AsyncExitStack() as stack:
        if page_port is not None:
            address = await stack.enter_async_context(listening(demo.app(), _HOST, page_port))
            terminal.say(f"page: {address} (Ctrl-C ends it early)")
        by_itself = await until_signalled(demo.run())
    terminal.say("" if by_itself else "\nended early")
