"""`planner backtest`: what each forecasting model and the ensemble would have promised."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from forecasting.forecaster import Forecaster
from forecasting.registry import forecasters
from planner.backtesting import Plan, Result, evaluate
from planner.commands.arguments import output_file, positive, share, whole
from planner.errors import UserError
from planner.generated import generated
from planner.metrics.config import MetricsConfig
from planner.metrics.presets import PRESETS
from planner.recorded import Recorded, files, recorded, served

_STRETCHES, _QUARTERS = 20, 4
_LEAST = 0.005


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to forecast, how far ahead, how surely."""
    _add_series(parser)
    _add_plan(parser, Plan(forecasters=()))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--html", type=output_file, metavar="FILE", help="write the fan charts as one page"
    )


def _add_series(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "recordings",
        nargs="*",
        type=Path,
        metavar="SERIES_OR_TRACE",
        help="a rate table (.csv), a request trace, or a folder with such files",
    )
    add("--generated", action="store_true", help="also series drawn by seed: shapes and regimes")
    add("--seed", type=whole, default=0, metavar="N", help="of --generated (default %(default)s)")
    add("--prometheus", metavar="URL", help="a metrics server, whose past is to be forecast")
    add(
        "--model",
        metavar="NAME",
        default="",
        help="with --prometheus: the model's name in its labels",
    )
    add(
        "--preset",
        default="dynamo",
        choices=sorted(PRESETS),
        help="with --prometheus: the serving stack (default %(default)s)",
    )
    add(
        "--history-hours",
        type=positive,
        metavar="N",
        default=168.0,
        help="with --prometheus: how far back (default %(default)s)",
    )
    add(
        "--cell",
        type=positive,
        metavar="SECONDS",
        default=60.0,
        help="with --prometheus: length of a cell (default %(default)s)",
    )


def _add_plan(parser: argparse.ArgumentParser, plan: Plan) -> None:
    add = parser.add_argument
    add(
        "--lead",
        type=positive,
        metavar="SECONDS",
        help="until a replica asked for now serves (default 600, or 120 on cells of less than a "
        "minute)",
    )
    add(
        "--hold",
        type=positive,
        metavar="SECONDS",
        default=plan.hold_seconds,
        help="for which the peak after that counts (default: one cell)",
    )
    add(
        "--quantile",
        type=share,
        metavar="X",
        default=plan.fraction,
        help="share of forecasts that must suffice (default %(default)s)",
    )
    add(
        "--refit-hours",
        type=positive,
        metavar="N",
        default=plan.refit_seconds / 3600,
        help="hours between fits, at least 24 cells (default %(default)s)",
    )
    add(
        "--models",
        metavar="A,B,...",
        help="names separated by commas (default: all that are installed)",
    )


def run(args: argparse.Namespace) -> int:
    """Score every series in every file and print the rows."""
    plan = Plan(
        forecasters=_chosen(args.models),
        lead_seconds=args.lead,
        hold_seconds=args.hold,
        fraction=args.quantile,
        refit_seconds=args.refit_hours * 3600,
    )
    results = []
    for one in _recordings(args):
        result = evaluate(one, plan)
        if result is None:
            print(f"planner: {one.name}: too short to score", file=sys.stderr)
        else:
            results.append(result)
    if not results:
        raise UserError(
            "no series was long enough; a backtest takes some 20 cells more than the lead"
        )
    if args.html:
        from planner.fan_chart import page

        args.html.write_text(page(results), encoding="utf-8")
    print(_json(results) if args.json else "\n\n".join(map(_text, results)))
    return 0


def _recordings(args: argparse.Namespace) -> Iterator[Recorded]:
    if not (args.recordings or args.prometheus or args.generated):
        raise UserError("nothing to forecast: name a file, or a server with --prometheus URL")
    if args.prometheus:
        try:
            config = MetricsConfig(url=args.prometheus, model=args.model, preset=args.preset)
        except ValidationError as error:
            wrong = error.errors()[0]
            name = {"url": "--prometheus"}.get(str(wrong["loc"][0]), f"--{wrong['loc'][0]}")
            raise UserError(f"{name}: {wrong['msg']}") from None
        yield served(config, args.history_hours, args.cell)
    for path in args.recordings:
        for file in files(path):
            yield from recorded(file)
    if args.generated:
        yield from generated(args.seed)


def _json(results: list[Result]) -> str:
    rows = [
        {
            key: None if isinstance(v, float) and not math.isfinite(v) else v
            for key, v in row.items()
        }
        for result in results
        for row in result.rows
    ]
    weights = {result.name: result.weights for result in results}
    over_time = {result.name: result.weights_over_time(_STRETCHES) for result in results}
    refusals = {
        result.name: {name: why.detail for name, why in result.refusals.items()}
        for result in results
    }
    told = {"rows": rows, "weights": weights, "weights_over_time": over_time, "refusals": refusals}
    return json.dumps(told, indent=1)


def _text(result: Result) -> str:
    head = f"{'model':<16}{'pinball':>10}{'of last':>9}{'MASE':>7}{'cover':>8}{'width':>8}"
    lines = [
        f"{result.name}: {result.rows[0]['forecasts']} forecasts",
        head + f"{'fit s':>8}{'upd ms':>8}",
    ]
    for row in sorted(result.rows, key=lambda row: float(str(row["pinball"]))):
        loss, last = float(str(row["pinball"])), float(str(row["pinball_last_value"]))
        of_last = loss / last if last else math.nan
        lines.append(
            f"{row['model']:<16}{loss:>10.4g}{of_last:>9.1%}{row['mase']:>7.2f}"
            f"{row['coverage']:>8.1%}{row['width']:>8.1%}{row['fit_seconds']:>8.2f}"
            f"{row['update_milliseconds']:>8.2f}"
        )
    lines += [f"ensemble used: {_shares(result.weights)}"]
    over_time = result.weights_over_time(_QUARTERS)
    lines += [f"  quarter {i}: {_shares(one)}" for i, one in enumerate(over_time, start=1)]
    lines += [f"{name} cannot run: {why.detail}" for name, why in result.refusals.items()]
    return "\n".join(lines)


def _shares(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {part:.0%}" for name, part in weights.items() if part >= _LEAST)


def _chosen(names: str | None) -> tuple[Forecaster, ...]:
    known = {one.name: one for one in forecasters()}
    if names is None:
        return tuple(known.values())
    wanted = ["last_value", *(name.strip() for name in names.split(","))]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise UserError(f"no model {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in dict.fromkeys(wanted))
