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
from planner.config import Config, load, load_profile
from planner.errors import UserError
from planner.metrics.config import MetricsConfig, SourceKind
from planner.metrics.inspection import Inspection, SignalRow, inspect
from planner.metrics.presets import PRESETS
from planner.metrics.signals import SIGNALS, Origin
from planner.workloads.readiness import cluster_checks
from policies.config import Slo
from policies.types import PerRole

NOT_READY = 1
_MARKS = {State.OK: "ok     ", State.WARNING: "warning", State.FAILED: "FAILED "}
# Of models that are served, where the configured one is not.
_MOST_NAMES = 10
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
    checks = (*profile_checks(config, args.config.parent), *cluster)
    if inspection is not None:
        checks = (*metrics_checks(config.metrics, inspection), *checks)
    if inspection is not None and not inspection.blind:
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

    Lengths fall off about exponentially, so that is 4.6 times their mean.
    """
    rows = {row.name: row.value for row in inspection.rows} if inspection else {}
    prompt, answer = (
        None if mean is None else math.log(100) * float(mean)
        for mean in (rows.get("input_tokens_mean"), rows.get("output_tokens_mean"))
    )
    return PerRole(
        slo.ttft_objective_seconds(prompt or 0.0),
        None if answer is None else answer * slo.itl_seconds,
    )


def profile_checks(config: Config, beside: Path) -> Iterator[Check]:
    """Judge what the pools are sized with."""
    try:
        profile = load_profile(config.profile, beside)
    except UserError as error:
        yield Check(State.FAILED, str(error))
        return
    cost, budget = profile.gpus_per_replica, config.policy.gpu_budget
    sizes = " and ".join(f"{gpus} ({role})" for role, gpus in cost.items())
    yield Check(State.OK, f"profile {profile.name}: GPUs of a replica are {sizes}")
    least = sum(config.policy.roles[role].min_replicas * gpus for role, gpus in cost.items())
    if budget is not None and least > budget:
        yield Check(
            State.WARNING, f"policy.gpu_budget is {budget}, and min_replicas take {least} GPUs"
        )


def metrics_checks(config: MetricsConfig, inspection: Inspection) -> Iterator[Check]:
    """Judge what was seen of the metrics."""
    for problem in inspection.problems:
        yield Check(State.FAILED, problem)
    if inspection.blind:
        return
    known = [row for row in inspection.rows if row.value is not None]
    if known:
        yield Check(State.OK, f"{len(known)} of {len(inspection.rows)} signals are known")
    yield from _stack(config, inspection)
    rate = next(row for row in inspection.rows if row.name == "requests_per_second")
    idle = rate.value == "0"
    if idle:
        yield Check(
            State.WARNING, "no requests arrive now, so lengths and latencies cannot be checked"
        )
    for row in inspection.missing:
        if idle and not row.of_pools:
            continue
        yield _missing(row)


def _missing(row: SignalRow) -> Check:
    if row.name == "requests_per_second":
        return Check(State.FAILED, f"{row.name}: {row.remedy}; without it every decision holds")
    if not row.of_pools:
        return Check(State.WARNING, f"{row.name}: {row.remedy}")
    if row.asked:
        why = "while it is missing nothing is scaled in; name it in metrics.lacks if it never comes"
        return Check(State.WARNING, f"{row.name}: {row.remedy}; {why}")
    latency = "ITL" if SIGNALS[row.name].origin is Origin.DECODE else "TTFT"
    return Check(State.WARNING, f"{row.name}: {row.remedy}; {latency} stands in for it")


def _stack(config: MetricsConfig, inspection: Inspection) -> Iterator[Check]:
    """Say what runs, and what in the configuration does not fit it."""
    if inspection.recognised is None:
        if not inspection.problems and config.preset != "custom":
            presets = ", ".join(name for name in PRESETS if name != "custom")
            yield Check(State.FAILED, f"no stack is recognised by its metrics, of {presets}")
    else:
        running = "; ".join(f"{name} {which}" for name, which in inspection.versions.items())
        yield Check(State.OK, f"detected: preset {inspection.recognised}: {running}")
        if config.preset not in (inspection.recognised, "custom"):
            fits = f"{inspection.recognised} fits what runs, {config.preset} is configured"
            yield Check(State.WARNING, f"metrics.preset: {fits}")
    served = [name.lower() for name in inspection.models]
    if served and config.model.lower() not in served:
        more = len(inspection.models) - _MOST_NAMES
        names = ", ".join(inspection.models[:_MOST_NAMES]) + (
            f" and {more} more" if more > 0 else ""
        )
        yield Check(
            State.FAILED, f"metrics.model: {config.model} is not served; these are: {names}"
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
