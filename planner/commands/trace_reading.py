"""How to read a trace: arguments for every command that takes one."""

from __future__ import annotations

import argparse
from pathlib import Path

from planner.commands.arguments import whole
from planner.errors import UserError
from replay.traces import open_trace
from replay.traces.lengths import PUBLISHED, LengthLaw, resampled_lengths
from replay.traces.source import Options


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """How to read a trace: what the file leaves open."""
    add = parser.add_argument
    add("--skip-bad-lines", action="store_true", help="count bad lines; do not stop at the first")
    add("--series", help="which traffic of a file of several, such as conversation")
    add(
        "--lengths",
        metavar="NAME|PATH",
        help="lengths for a trace of rates: another trace's, or those published as "
        + ", ".join(PUBLISHED),
    )
    add(
        "--cache-tokens",
        type=whole,
        default=Options().cache_tokens,
        metavar="N",
        help="prefix cache for traces with block ids (default %(default)s; 0: none)",
    )
    add("--seed", type=whole, default=0, help="of everything drawn at random (default %(default)s)")


def reading_options(args: argparse.Namespace) -> Options:
    """Options from the arguments of `add_reading_arguments`."""
    return Options(
        skip_bad_lines=args.skip_bad_lines,
        seed=args.seed,
        series=args.series,
        lengths=_lengths(args.lengths) if args.lengths else None,
        cache_tokens=args.cache_tokens,
    )


def _lengths(text: str) -> LengthLaw:
    if text in PUBLISHED:
        return PUBLISHED[text]
    if not Path(text).exists():
        raise UserError(f"--lengths {text}: no file, and not one of {', '.join(PUBLISHED)}")
    return resampled_lengths(open_trace(text))
