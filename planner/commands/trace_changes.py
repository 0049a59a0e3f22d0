"""Changes to a trace, applied in the order in which they are given."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from planner.commands.arguments import positive, positive_int
from planner.commands.trace_reading import reading_options
from replay.traces import Trace, open_trace
from replay.traces.shape import cut, mix, repeat, scale_rate, thin

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Change = Callable[[Trace, argparse.Namespace], Trace]


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Collect the changes in `changes`, a list of `Change`."""
    for option, change, metavar, text in (
        ("--scale", _scaled, "FACTOR", "multiply the rate"),
        ("--cut", _cut, "START:END", "keep a part, such as 0:30m"),
        ("--thin", _thinned, "SHARE", "keep each request with this probability"),
        ("--repeat", _repeated, "TIMES", "play it so many times in a row"),
        ("--mix", _mixed, "PATH", "play another trace at the same time"),
    ):
        parser.add_argument(
            option,
            dest="changes",
            action="append",
            default=[],
            type=change,
            metavar=metavar,
            help=text,
        )


def seconds(text: str) -> float:
    """Read a time: seconds, or a number with s, m, h or d."""
    unit = _UNIT_SECONDS.get(text[-1:], 0)
    try:
        return positive(text[:-1] if unit else text) * (unit or 1)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time above 0: seconds, or a number with s, m, h or d, such as 30m"
        ) from None


def _scaled(text: str) -> Change:
    factor = positive(text)
    return lambda trace, args: scale_rate(trace, factor, seed=args.seed)


def _cut(text: str) -> Change:
    start_text, colon, end_text = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not START:END, such as 0:30m")
    start = 0.0 if start_text in {"", "0"} else seconds(start_text)
    end = seconds(end_text)
    if start >= end:
        raise argparse.ArgumentTypeError(f"{text!r} ends before it starts")
    return lambda trace, _args: cut(trace, start, end)


def _thinned(text: str) -> Change:
    share = positive(text)
    if share > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 1")
    return lambda trace, args: thin(trace, share, seed=args.seed)


def _repeated(text: str) -> Change:
    times = positive_int(text)
    return lambda trace, _args: repeat(trace, times)


def _mixed(text: str) -> Change:
    def change(trace: Trace, args: argparse.Namespace) -> Trace:
        other = open_trace(text, options=reading_options(args))
        return mix(f"{trace.name} + {other.name}", [trace, other])

    return change
