"""`planner check`: the first thing to run; says what is seen, what is missing, and what to do."""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Iterator
from pathlib import Path

from planner import kube
from planner.checks import Check, State, ready
from planner.clock import WallClock
from planner.config import Config, load
from planner.errors import UserError
from planner.metrics.config import MetricsConfig, SourceKind
from planner.metrics.inspection import Inspection, SignalRow, inspect
from planner.workloads.readiness import cluster_checks
from policies.config import Slo
from policies.types import PerRole

NOT_READY = 1
_MARKS = {State.OK: "ok     ", State.WARNING: "warning", State.FAILED: "FAILED "}
# Rates need two looks at the pods' own pages.
_BETWEEN_SCRAPES_SECONDS = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the configuration is."""
    parser.add_argument(
        "-c", "--config", type=Path, required=True, metavar="FILE", help="configuration in YAML"
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument(
        "--metrics-only", action="store_true", help="leave out the cluster and its pools"
    )
    only.add_argument("--cluster-only", action="store_true", help="leave out the metrics")


def run(args: argparse.Namespace) -> int:
    """Look at everything that the configuration names; exit code 1 when not ready."""
    config = load(args.config)
    inspection, cluster = asyncio.run(
        _look(config, metrics=not args.cluster_only, cluster=not args.metrics_only)
    )
    checks = cluster
    if inspection is not None:
        checks = (*metrics_checks(config.metrics, inspection), *cluster)
        print(_table(inspection))
        print()
    for check in checks:
        print(f"{_MARKS[check.state]}  {check.text}")
    print()
    if ready(checks):
        print("ready: nothing stands in the way of `planner run`")
        return 0
    print("not ready: mend what is marked FAILED and run the check again")
    return NOT_READY


async def _look(
    config: Config, *, metrics: bool, cluster: bool
) -> tuple[Inspection | None, tuple[Check, ...]]:
    clock = WallClock()
    between = _BETWEEN_SCRAPES_SECONDS if config.metrics.source is SourceKind.SCRAPE else None
    inspection = await inspect(config.metrics, clock, between) if metrics else None
    if not cluster:
        return inspection, ()
    return inspection, await _cluster_checks(config, inspection, clock.now_seconds())


async def _cluster_checks(
    config: Config, inspection: Inspection | None, now_seconds: float
) -> tuple[Check, ...]:
    """Look at the cluster as every tick will."""
    try:
        api = await kube.connect(config.workload.kubernetes)
    except UserError as error:
        return (Check(State.FAILED, str(error)),)
    try:
        return await cluster_checks(
            config.workload,
            api,
            act=config.mode == "act",
            drain_seconds=_drain_seconds(config.policy.slo, inspection),
            now_seconds=now_seconds,
        )
    finally:
        await api.close()


def _drain_seconds(slo: Slo, inspection: Inspection | None) -> PerRole[float | None]:
    """How long a request stays in each role: the objectives, and what 99 of 100 are shorter than.

    Output lengths fall off about exponentially, so that is 4.6 times their mean.
    """
    rows = inspection.rows if inspection else ()
    mean = next((row.value for row in rows if row.name == "output_tokens_mean"), None)
    decode = None if mean is None else math.log(100) * float(mean) * slo.itl_seconds
    return PerRole(slo.ttft_seconds, decode)


def metrics_checks(config: MetricsConfig, inspection: Inspection) -> Iterator[Check]:
    """Judge what was seen of the metrics."""
    for problem in inspection.problems:
        yield Check(State.FAILED, problem)
    known = [row for row in inspection.rows if row.value is not None]
    if known:
        yield Check(State.OK, f"{len(known)} of {len(inspection.rows)} signals are known")
    yield from _better_preset(config, inspection)
    rate = next(row for row in inspection.rows if row.name == "requests_per_second")
    idle = rate.value == "0"
    if idle:
        yield Check(
            State.WARNING, "no requests arrive now, so lengths and latencies cannot be checked"
        )
    for row in inspection.missing:
        if idle and row.idle_without_traffic:
            continue
        yield _missing(row)


def _missing(row: SignalRow) -> Check:
    if row.name == "requests_per_second":
        return Check(State.FAILED, f"{row.name}: {row.remedy}; without it every decision holds")
    return Check(State.WARNING, f"{row.name}: {row.remedy}; without it nothing is scaled in")


def _better_preset(config: MetricsConfig, inspection: Inspection) -> Iterator[Check]:
    found = inspection.known_by_preset
    best = max(found, key=lambda name: found[name], default=config.preset)
    if found.get(best, 0) > 2 * found.get(config.preset, 0) and best != config.preset:
        yield Check(
            State.WARNING,
            f"metrics.preset: {best} would find {found[best]} signals, {config.preset} finds "
            f"{found.get(config.preset, 0)}",
        )


def _table(inspection: Inspection) -> str:
    head = ("signal", "value", "unit", "age", "coverage", "query")
    rows = [head, *(_cells(row) for row in inspection.rows)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(row: SignalRow) -> tuple[str, ...]:
    return (
        row.name,
        row.value if row.value is not None else "unknown",
        row.unit,
        f"{row.age_seconds:.0f} s" if row.age_seconds is not None else "-",
        f"{row.coverage_fraction:.0%}" if row.coverage_fraction is not None else "-",
        _query(row),
    )


def _query(row: SignalRow) -> str:
    if row.rank is None:
        return f"none: {row.remedy}"
    return f"fallback {row.rank}" if row.rank else "first"
