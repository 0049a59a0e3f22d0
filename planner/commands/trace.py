"""`planner trace`: look at a trace, or make one."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from planner.commands import trace_export
from planner.commands.arguments import output_file, positive
from planner.commands.trace_changes import add_changes, seconds
from planner.commands.trace_reading import add_reading_arguments, reading_options
from planner.config import DEFAULT_PROFILE, load_profile
from planner.errors import UserError
from policies.config import Slo
from replay.traces import Trace, TraceError, open_trace
from replay.traces.export import write_csv
from replay.traces.sample import sample_trace
from replay.traces.shape import scale_rate
from replay.traces.shapes import SHAPES, shaped_trace
from replay.traces.shapes.traffic import Traffic
from replay.traces.sparkline import sparkline
from replay.traces.survey import Survey, TokenSurvey, survey
from replay.traces.trace import skipped_lines

_MOST_REQUESTS = 50_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Three commands: inspect, generate and export."""
    commands = parser.add_subparsers(required=True, metavar="inspect|generate|export")
    inspect = commands.add_parser("inspect", help="print what a trace is like")
    inspect.add_argument(
        "path", type=Path, nargs="?", help="a trace of any known format; default: the sample"
    )
    inspect.add_argument("--scale", type=positive, default=1.0, help="multiply the rate")
    inspect.add_argument("--profile", default=DEFAULT_PROFILE, help="built-in name, or a path")
    inspect.add_argument(
        "--itl", type=positive, default=Slo().itl_seconds, help="seconds (default %(default)s)"
    )
    inspect.add_argument("--json", action="store_true", help="print one JSON object")
    inspect.add_argument("--png", type=output_file, metavar="FILE", help="draw it (matplotlib)")
    add_reading_arguments(inspect)
    inspect.set_defaults(act=_inspect)

    shapes = "\n".join(f"  {name:<12} {shape.summary}" for name, shape in SHAPES.items())
    generate = commands.add_parser(
        "generate",
        help="write a trace as CSV",
        epilog=f"shapes:\n{shapes}\n\nChanges apply in the order in which they are given.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_generate_arguments(generate)
    add_reading_arguments(generate)
    generate.set_defaults(act=_generate)

    trace_export.add_arguments(
        commands.add_parser("export", help="record from Prometheus what the planner would see")
    )


def run(args: argparse.Namespace) -> int:
    """Run the chosen command."""
    try:
        return int(args.act(args))
    except TraceError as error:
        raise UserError(str(error)) from error


def _add_generate_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("out", type=output_file, help="file to write: CSV that every command reads")
    base = parser.add_mutually_exclusive_group(required=True)
    base.add_argument("--shape", choices=SHAPES, help="draw a synthetic trace")
    base.add_argument("--from", dest="path", type=Path, metavar="PATH", help="start from a trace")
    add("--rate", type=positive, help="requests/s at the shape's ordinary peak (default 1)")
    add("--input-tokens", type=positive, help="mean prompt length of a shape (default 1000)")
    add("--output-tokens", type=positive, help="mean answer length of a shape (default 200)")
    add(
        "--duration", type=seconds, help="of a shape: seconds, or with s, m, h, d (default its own)"
    )
    add_changes(parser)
    add("--json", action="store_true", help="print one JSON object")


def _inspect(args: argparse.Namespace) -> int:
    opened = open_trace(args.path, options=reading_options(args)) if args.path else None
    trace = scale_rate(opened or sample_trace(args.seed), args.scale, seed=args.seed)
    _check_size(trace, f"--scale {args.scale * _fitting(trace):.0e}")
    profile = load_profile(args.profile)
    found = survey(trace, profile, Slo(itl_seconds=args.itl))
    if args.png:
        _draw(found, trace.name, args.png)
    if args.json:
        print(json.dumps({**_identity(trace), "profile": profile.name, **asdict(found)}))
    else:
        print("\n".join([*_heading(trace), *_report(found, profile.name)]))
    return 0


def _generate(args: argparse.Namespace) -> int:
    trace = _opened(args) if args.path else _shaped(args)
    for change in args.changes:
        trace = change(trace, args)
    _check_size(trace, f"--scale {_fitting(trace):.0e}")
    requests = write_csv(trace, args.out)
    if args.json:
        print(json.dumps({"path": str(args.out), "requests": requests, **_identity(trace)}))
    else:
        print("\n".join([f"{args.out}: {requests:,} requests", *_heading(trace)]))
    return 0


def _opened(args: argparse.Namespace) -> Trace:
    level = {
        "--rate": args.rate,
        "--input-tokens": args.input_tokens,
        "--output-tokens": args.output_tokens,
        "--duration": args.duration,
    }
    if given := [option for option, value in level.items() if value is not None]:
        raise UserError(f"{', '.join(given)}: for a --shape only; --scale and --cut change a trace")
    return open_trace(args.path, options=reading_options(args))


def _shaped(args: argparse.Namespace) -> Trace:
    traffic = Traffic(
        requests_per_second=args.rate or 1.0,
        input_tokens=args.input_tokens or 1000.0,
        output_tokens=args.output_tokens or 200.0,
        duration_seconds=args.duration or SHAPES[args.shape].duration_seconds,
        seed=args.seed,
    )
    return shaped_trace(args.shape, traffic)


def _check_size(trace: Trace, instead: str) -> None:
    if (trace.expected_requests or 0) > _MOST_REQUESTS:
        raise UserError(
            f"{trace.name} stands for {trace.expected_requests:,.0f} requests, more than "
            f"{_MOST_REQUESTS:,} to draw at once; add {instead}"
        )


def _fitting(trace: Trace) -> float:
    return 1e6 / (trace.expected_requests or 1e6)


def _identity(trace: Trace) -> dict[str, object]:
    return {
        "name": trace.name,
        "format": trace.format,
        "notes": trace.notes,
        "bad_lines": trace.bad_lines,
        "bad_line_examples": trace.bad_line_examples,
        "failed_calls": trace.failed_calls,
    }


def _heading(trace: Trace) -> list[str]:
    lines = [f"{trace.name} ({trace.format})", *(f"  {note}" for note in trace.notes)]
    if trace.failed_calls:
        lines.append(f"  {trace.failed_calls:,} failed calls left out")
    return lines + skipped_lines(trace.bad_lines, trace.bad_line_examples)


def _report(found: Survey, profile: str) -> list[str]:
    def tokens(kind: TokenSurvey) -> str:
        return f"mean {kind.mean:.0f}, p50 {kind.p50}, p95 {kind.p95}, p99 {kind.p99}"

    cv = "unknown" if found.interarrival_cv is None else f"{found.interarrival_cv:.2f}"
    dispersion = ", ".join(f"{v:.2f} ({window} s)" for window, v in found.dispersion.items())
    dispersion = dispersion or "unknown"
    peak, ratio = found.peak_replicas, found.p_d_ratio
    highest = max((r for r in found.p_d_ratio_series if r is not None), default=0.0)
    rows = {
        "requests": f"{found.requests:,} in {found.duration_seconds / 3600:.2f} h",
        "rate": f"mean {found.requests_per_second:.3g}/s, busiest minute "
        f"{found.peak_minute_per_second:.3g}/s",
        " ": sparkline(found.rate_series),
        "burstiness": f"CV of gaps {cv}; variance over mean of counts {dispersion}; Poisson: 1",
        "input": f"{tokens(found.input_tokens)} tokens; {found.cached_fraction:.1%} cached",
        "output": f"{tokens(found.output_tokens)} tokens",
        "load": f"busiest minute {peak.prefill:.3g} prefill + {peak.decode:.3g} decode replicas "
        f"fully busy, under {profile}",
        "P:D": ("unknown" if ratio is None else f"{ratio:.2f}")
        + f" overall; over time, from 0 to {highest:.2f}:",
        "  ": sparkline(found.p_d_ratio_series),
    }
    return [f"{name:<12}{text}" for name, text in rows.items()]


def _draw(found: Survey, title: str, path: Path) -> None:
    from replay.traces.picture import draw

    try:
        draw(found, title, path)
    except ImportError as error:
        raise UserError(
            "--png needs matplotlib: pip install matplotlib, or leave --png out"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be drawn: {error}") from error
