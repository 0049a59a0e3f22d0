"""The planner's own metrics: true numbers from records, and nothing for what is unknown."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from planner.api.view import ServiceView
from planner.journal import Journal, Record
from planner.loop import Loop
from planner.metrics.scripted import ScriptedMetrics
from planner.ports import WriteFailure
from planner.telemetry import Telemetry
from planner.workloads.in_memory import InMemoryWorkload
from policies.config import PolicySettings, Slo
from policies.engine import Engine
from policies.lengths import Lengths
from policies.profile import builtin
from policies.types import (
    Binding,
    Decision,
    Expectation,
    Hold,
    HoldReason,
    Latency,
    Limiter,
    Margin,
    Observation,
    PerRole,
    PoolState,
    Prospect,
    Role,
    Unavailable,
)


class StoppedClock:
    now = 1000.0

    def now_seconds(self) -> float:
        return self.now

    async def sleep_until(self, seconds: float) -> None:
        self.now = seconds


POOL = PoolState(desired_replicas=3, ready_replicas=2, starting_ages_seconds=(5.0,))
PLANNED = Expectation(
    ttft_seconds=1.5,
    itl_seconds=0.02,
    ttft_attainment=0.99,
    itl_attainment=1.0,
    carried_fraction=1.0,
)
WORSE = replace(PLANNED, ttft_seconds=math.inf, ttft_attainment=0.5)
PROSPECT = Prospect(
    replicas=PerRole(5, 3),
    now=replace(PLANNED, ttft_seconds=0.4),
    likely=replace(PLANNED, ttft_seconds=0.7),
    planned=PLANNED,
    sufficient=True,
    tolerated=False,
    margins=PerRole(
        Margin(gpus=1, more=replace(PLANNED, ttft_attainment=1.0), fewer=WORSE, binding=None),
        Margin(gpus=1, more=PLANNED, fewer=None, binding=Binding.MINIMUM),
    ),
    needed_replicas=PerRole(4.5, 3.0),
)
SCALED = Record(
    observation=Observation(
        observed_at_seconds=990.0,
        window_seconds=60.0,
        requests_per_second=12.5,
        ttft=Latency(p95_seconds=0.7),
    ),
    pools=PerRole(POOL, POOL),
    decision=Decision(
        decided_at_seconds=995.0,
        current=PerRole(3, 3),
        target=PerRole(5, 3),
        raw=PerRole(6, 3),
        foresight=lambda pair: PROSPECT if pair == PerRole(5, 3) else None,
        backlog=PerRole(120.0, 0.0),
        unserved=PerRole(0.0, 1.0),
        binding=(Binding.TTFT,),
        limiters=(Limiter("limit_scale_out", PerRole(6, 3), PerRole(5, 3), "2 at once"),),
    ),
    applied=True,
    failures=(WriteFailure(Role.DECODE, "409 Conflict"),),
    took_seconds=0.3,
)
BLIND = Record(
    observation=Observation(observed_at_seconds=990.0, window_seconds=60.0, problems=("down",)),
    pools=PerRole(POOL, Unavailable("403")),
    decision=Decision(
        decided_at_seconds=995.0,
        current=None,
        target=None,
        hold=Hold(HoldReason.POOL_UNKNOWN, "decode: 403"),
    ),
)


@pytest.fixture
def view() -> ServiceView:
    return ServiceView(
        journal=Journal(),
        profile=builtin("llama-3-8b-h100-fp8-tp1"),
        settings=PolicySettings(),
        mode="act",
        clock=StoppedClock(),
        tick_seconds=10.0,
        registry=CollectorRegistry(),
    )


def lived(view: ServiceView, *records: Record) -> CollectorRegistry:
    telemetry = Telemetry(view)
    for record in records:
        view.journal.append(record)
        telemetry.observe(record)
    generate_latest(view.registry)  # what cannot be written cannot be scraped
    return view.registry


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"pd_planner_{name}", labels)


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        pytest.param("desired_replicas", {"role": "prefill"}, 5, id="desired"),
        pytest.param("current_replicas", {"role": "prefill"}, 3, id="current"),
        pytest.param("solved_replicas", {"role": "prefill"}, 6, id="solved"),
        pytest.param("ready_replicas", {"role": "decode"}, 2, id="ready"),
        pytest.param("demand_requests_per_second", {}, 12.5, id="demand"),
        pytest.param("demand_output_tokens", {}, None, id="unknown-is-absent"),
        pytest.param("observed_ttft_seconds", {"statistic": "p95"}, 0.7, id="ttft"),
        pytest.param("observed_ttft_seconds", {"statistic": "mean"}, None, id="half-known"),
        pytest.param("expected_itl_seconds", {"demand": "planned"}, 0.02, id="expected"),
        pytest.param("expected_ttft_seconds", {"demand": "likely"}, 0.7, id="likely"),
        pytest.param("expected_ttft_seconds", {"demand": "now"}, 0.4, id="now"),
        pytest.param("expected_attainment_fraction", {"demand": "planned"}, 0.99, id="attained"),
        pytest.param(
            "gain_of_one_more_fraction", {"role": "prefill"}, pytest.approx(0.01), id="gain"
        ),
        pytest.param("gain_of_one_more_fraction", {"role": "decode"}, 0, id="no-gain"),
        pytest.param(
            "loss_of_one_fewer_fraction", {"role": "prefill"}, pytest.approx(0.49), id="loss"
        ),
        pytest.param("loss_of_one_fewer_fraction", {"role": "decode"}, None, id="none-to-take"),
        pytest.param("needed_replicas", {"role": "prefill"}, 4.5, id="needed"),
        pytest.param("efficient_ratio", {}, 1.5, id="ratio"),
        pytest.param("backlog_requests", {"role": "prefill"}, 120, id="congested"),
        pytest.param("backlog_requests", {"role": "decode"}, 0, id="not-congested"),
        pytest.param("unserved_requests", {"role": "decode"}, 1, id="leaked"),
        pytest.param("slo_ttft_seconds", {}, 2.0, id="objective"),
        pytest.param("mode", {"mode": "act"}, 1, id="mode"),
        pytest.param("mode", {"mode": "advise"}, 0, id="other-mode"),
        pytest.param("binding", {"constraint": "ttft"}, 1, id="binds"),
        pytest.param("binding", {"constraint": "itl"}, 0, id="does-not-bind"),
        pytest.param("observation_age_seconds", {}, 10, id="age"),
        pytest.param(
            "decisions_total", {"outcome": "scale_out", "reason": "ttft"}, 1, id="counted"
        ),
        pytest.param("limiter_hits_total", {"limiter": "limit_scale_out"}, 1, id="limited"),
        pytest.param("write_failures_total", {"role": "decode"}, 1, id="write-failed"),
        pytest.param("write_failures_total", {"role": "prefill"}, 0, id="write-succeeded"),
        pytest.param("port_errors_total", {"port": "scale"}, 1, id="port-failed"),
        pytest.param("port_errors_total", {"port": "metrics"}, 0, id="port-answered"),
        pytest.param("tick_seconds_count", {}, 1, id="timed"),
        pytest.param("tick_seconds_sum", {}, 0.3, id="time"),
    ],
)
def test_a_scale_out_is_shown(view, name, labels, expected):
    assert value(lived(view, SCALED), name, **labels) == expected


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        pytest.param("desired_replicas", {"role": "prefill"}, None, id="no-size-decided"),
        pytest.param("demand_requests_per_second", {}, None, id="no-demand"),
        pytest.param("ready_replicas", {"role": "prefill"}, 2, id="the-pool-that-was-read"),
        pytest.param("ready_replicas", {"role": "decode"}, None, id="the-pool-that-was-not"),
        pytest.param("expected_ttft_seconds", {"demand": "now"}, None, id="no-expectation"),
        pytest.param("efficient_ratio", {}, None, id="no-ratio"),
        pytest.param(
            "decisions_total", {"outcome": "hold", "reason": "pool_unknown"}, 1, id="counted"
        ),
        pytest.param("port_errors_total", {"port": "metrics"}, 1, id="metrics-failed"),
        pytest.param("port_errors_total", {"port": "workload"}, 1, id="workload-failed"),
        pytest.param("tick_seconds_count", {}, 1, id="an-untimed-tick-is-not-counted"),
    ],
)
def test_a_blind_tick_withdraws_what_it_does_not_know(view, name, labels, expected):
    assert value(lived(view, SCALED, BLIND), name, **labels) == expected


async def test_the_loop_times_its_ticks(view):
    telemetry = Telemetry(view)
    loop = Loop(
        metrics=ScriptedMetrics([SCALED.observation]),
        workload=InMemoryWorkload(PerRole(3, 3)),
        clock=view.clock,
        engine=Engine(view.profile, view.settings),
        listeners=(telemetry.observe,),
    )
    await loop.tick(1000.0)
    assert value(view.registry, "tick_seconds_count") == 1
    assert value(view.registry, "tick_seconds_sum") > 0


def test_an_objective_that_grows_with_the_prompt_is_shown_for_the_mean_one(view):
    slo = Slo(ttft_seconds=0.5, ttft_seconds_per_input_token=0.001)
    view = replace(view, settings=PolicySettings(slo=slo))
    seen = replace(SCALED.observation, input_tokens=Lengths.lognormal(3000.0, 1.0))
    assert value(lived(view), "slo_ttft_seconds") == 0.5
    view = replace(view, registry=CollectorRegistry())
    registry = lived(view, replace(SCALED, observation=seen))
    assert value(registry, "slo_ttft_seconds") == pytest.approx(3.5)


def test_age_grows_when_the_loop_has_stopped(view):
    registry = lived(view, SCALED)
    view.clock.now = 5000.0
    assert value(registry, "observation_age_seconds") == 4010.0


def test_before_the_first_tick_only_the_configuration_is_shown(view):
    registry = lived(view)
    assert value(registry, "slo_itl_seconds") == 0.05
    assert value(registry, "observation_age_seconds") is None
    assert value(registry, "last_tick_timestamp_seconds") is None
