"""The planner's own Prometheus metrics, all read from the journal's records.

Gauges are made at scrape time from the newest record, so that what is unknown is absent instead of
zero or stale, and ages are true even when the loop has stopped.
"""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from forecasting.forecast import Mode
from forecasting.forecaster import CannotRun
from planner.api.view import ServiceView
from planner.fitting import TimedFit
from planner.journal import Record
from planner.outcome import outcome_of
from policies.router import NAME
from policies.types import (
    Binding,
    Decision,
    Observation,
    PerRole,
    PoolState,
    Prospect,
    Role,
    Unavailable,
)

_PREFIX = "pd_planner_"
_TICK_BUCKETS_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_FIT_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# A name, a help text, a label (or none), and a value for each of the label's values.
Sample = tuple[str, str, str, Mapping[str, float | None]]


class Telemetry(Collector):
    """Counts ticks as they happen and shows the newest one when asked."""

    def __init__(self, view: ServiceView) -> None:
        self._view = view
        registry = view.registry
        self._decisions = _counter(registry, "decisions", "Decisions.", "outcome", "reason")
        self._limited = _counter(registry, "limiter_hits", "Decisions that it changed.", "limiter")
        self._port_errors = _counter(registry, "port_errors", "Ticks it failed in.", "port")
        self._write_failures = _counter(registry, "write_failures", "Failed writes.", "role")
        self._ticks = Histogram(
            f"{_PREFIX}tick_seconds",
            "Real time from the start of a tick to the end of its writes.",
            buckets=_TICK_BUCKETS_SECONDS,
            registry=registry,
        )
        self._fits = _counter(registry, "fits", "Fits, by what came of them.", "model", "outcome")
        self._fit_seconds = Histogram(
            f"{_PREFIX}fit_seconds",
            "Real time that the worker took to fit a model.",
            ("model",),
            buckets=_FIT_BUCKETS_SECONDS,
            registry=registry,
        )
        for role in Role:
            self._write_failures.labels(role)
        for port in ("metrics", "workload", "scale"):
            self._port_errors.labels(port)
        registry.register(self)

    def observe(self, record: Record) -> None:
        """Count one tick; fits the loop as a listener."""
        decision = record.decision
        self._decisions.labels(outcome_of(decision), _reason(decision)).inc()
        for limiter in decision.limiters:
            self._limited.labels(limiter.name).inc()
        for pool in record.write_failures:
            self._write_failures.labels(pool).inc()
        for port, failed in _failed_ports(record):
            self._port_errors.labels(port).inc(float(failed))
        if record.took_seconds is not None:
            self._ticks.observe(record.took_seconds)

    def fitted(self, done: TimedFit) -> None:
        """Count one fit; fits the fitting as its listener."""
        outcome = done.fit.outcome
        came_of_it = outcome.reason.value if isinstance(outcome, CannotRun) else "fitted"
        self._fits.labels(done.fit.name, came_of_it).inc()
        self._fit_seconds.labels(done.fit.name).observe(done.seconds)

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges of the newest record; without one only what is configured."""
        yield from map(_family, self._configured())
        last = self._view.journal.last
        if last is None:
            return
        age = self._view.clock.now_seconds() - last.observation.observed_at_seconds
        yield _family(("observation_age_seconds", "Age of the metrics last seen.", "", {"": age}))
        yield from map(_family, _sizes(last))
        yield from map(_family, _seen(last.observation))
        yield from map(_family, _decided(last.decision))
        yield from map(_family, _forecast(last.decision))

    def _configured(self) -> Iterator[Sample]:
        view, slo = self._view, self._view.settings.slo
        yield "info", "The profile in use.", "profile", {view.profile.name: 1.0}
        modes = {mode: float(mode == view.mode) for mode in ("advise", "act", "demo")}
        yield "mode", "1 for the mode in use.", "mode", modes
        yield "slo_ttft_seconds", "Objective for TTFT of the mean prompt.", "", {"": self._ttft()}
        yield "slo_itl_seconds", "Objective for ITL.", "", {"": slo.itl_seconds}
        share = "Share of requests that must meet the objectives."
        yield "slo_attainment_fraction", share, "", {"": slo.attainment_fraction}

    def _ttft(self) -> float:
        """The objective as it is for the mean prompt, which it may grow with; else for none."""
        last = self._view.journal.last
        prompts = last.observation.input_tokens if last else None
        return self._view.settings.slo.ttft_objective_seconds(prompts.mean if prompts else 0.0)


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(f"{_PREFIX}{name}", text, labels, registry=registry)


def _family(sample: Sample) -> GaugeMetricFamily:
    name, text, label, values = sample
    family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=[label] if label else [])
    for value, number in values.items():
        if number is not None:
            family.add_metric([value] if label else [], number)
    return family


def _reason(decision: Decision) -> str:
    if decision.hold is not None:
        return decision.hold.reason
    return decision.binding[0] if decision.binding else "none"


def _failed_ports(record: Record) -> Iterator[tuple[str, bool]]:
    yield "metrics", record.observation.requests_per_second is None
    pools = (*record.pools, *((record.router.pool,) if record.router else ()))
    yield "workload", not all(isinstance(pool, PoolState) for pool in pools)
    yield "scale", bool(record.write_failures)


def _by_role(values: PerRole[float | None]) -> dict[str, float | None]:
    return {str(role): value for role, value in values.items()}


def _by_role_of(values: PerRole[int] | PerRole[float] | None) -> dict[str, float | None]:
    return _by_role(values.map(float)) if values else {}


def _sizes(record: Record) -> Iterator[Sample]:
    """Replicas of each role, and of the front end under the same names with the role `router`."""
    decision, front = record.decision, record.router
    router = front.decision if front else None
    ready = {str(role): _ready(pool) for role, pool in record.pools.items()}
    sizes = (
        ("desired", "Replicas decided on.", decision.target, router.target if router else None),
        (
            "current",
            "Replicas asked for so far.",
            decision.current,
            router.current if router else None,
        ),
        ("solved", "Replicas before any guard.", decision.raw, router.raw if router else None),
    )
    for name, text, pair, third in sizes:
        attached = {NAME: float(third)} if third is not None else {}
        yield f"{name}_replicas", text, "role", _by_role_of(pair) | attached
    attached_ready = {NAME: _ready(front.pool)} if front else {}
    yield "ready_replicas", "Replicas that serve.", "role", ready | attached_ready
    rate = router.requests_per_second if router else None
    yield "router_requests_per_second", "What the front end is sized for.", "", {"": rate}


def _ready(pool: PoolState | Unavailable) -> float | None:
    return float(pool.ready_replicas) if isinstance(pool, PoolState) else None


def _seen(seen: Observation) -> Iterator[Sample]:
    tokens = seen.input_tokens.mean if seen.input_tokens else None
    waiting = _by_role(seen.waiting_requests)
    rate = seen.requests_per_second
    yield "demand_requests_per_second", "Offered rate, at arrival.", "", {"": rate}
    yield "demand_input_tokens", "Mean prompt length.", "", {"": tokens}
    yield "demand_output_tokens", "Mean generated length.", "", {"": seen.output_tokens_mean}
    for name, latency in (("ttft", seen.ttft), ("itl", seen.itl)):
        values = {"mean": latency.mean_seconds, "p95": latency.p95_seconds}
        yield f"observed_{name}_seconds", f"Measured {name.upper()}.", "statistic", values
    yield "waiting_requests", "Requests waiting.", "role", waiting
    backlog = seen.kv_transfer_backlog_requests
    yield "kv_transfer_backlog_requests", "Requests waiting for KV transfer.", "", {"": backlog}


def _forecast(decision: Decision) -> Iterator[Sample]:
    told = decision.forecasts
    modes = Counted(one.mode for one in told)
    weights: dict[str, float | None] = {}
    for one in told:
        for model, share in one.weights.items():
            weights[model] = (weights.get(model) or 0.0) + share / len(told)
    yield "load_seen", "Each load, newest cell.", "load", {one.load: one.seen for one in told}
    yield (
        "load_forecast",
        "Its peak when a replica started now serves, upper quantile.",
        "load",
        {one.load: one.upper for one in told},
    )
    yield (
        "forecast_mode_loads",
        "Loads whose forecast is in this mode.",
        "mode",
        {mode: float(modes[mode]) for mode in Mode} if told else {},
    )
    yield "forecast_weight", "Share of a model, mean over the loads.", "model", weights


def _decided(decision: Decision) -> Iterator[Sample]:
    yield "last_tick_timestamp_seconds", "Newest tick.", "", {"": decision.decided_at_seconds}
    yield (
        "binding",
        "1 for what keeps the pair from being smaller.",
        "constraint",
        {str(constraint): float(constraint in decision.binding) for constraint in Binding},
    )
    left = "Requests that what is ready and starting will not have worked off in time."
    yield "backlog_requests", left, "role", _by_role_of(decision.backlog)
    leaked = "Requests counted as waiting that nobody serves: taken for no queue."
    yield "unserved_requests", leaked, "role", _by_role_of(decision.unserved)
    prospect = decision.prospect
    if prospect is not None:
        yield from _foreseen(prospect)


def _foreseen(prospect: Prospect) -> Iterator[Sample]:
    under = {"now": prospect.now, "likely": prospect.likely, "planned": prospect.planned}
    share = "at the objective's share of requests, under this demand."
    ttft = {demand: expected.ttft_seconds for demand, expected in under.items()}
    itl = {demand: expected.itl_seconds for demand, expected in under.items()}
    met = {demand: expected.joint_attainment for demand, expected in under.items()}
    yield "expected_ttft_seconds", f"Predicted TTFT {share}", "demand", ttft
    yield "expected_itl_seconds", f"Predicted ITL {share}", "demand", itl
    yield "expected_attainment_fraction", "Predicted share that meets both.", "demand", met
    joint = prospect.planned.joint_attainment
    gain = prospect.margins.map(lambda margin: margin.more.joint_attainment - joint)
    loss = prospect.margins.map(lambda m: joint - m.fewer.joint_attainment if m.fewer else None)
    yield "gain_of_one_more_fraction", "More requests in time.", "role", _by_role_of(gain)
    yield "loss_of_one_fewer_fraction", "Fewer requests in time.", "role", _by_role(loss)
    needed = prospect.needed_replicas
    yield "needed_replicas", "What the demand calls for, unrounded.", "role", _by_role_of(needed)
    ratio = "Prefill per decode replica at which neither side idles."
    yield "efficient_ratio", ratio, "", {"": prospect.efficient_ratio}
