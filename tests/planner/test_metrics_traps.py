"""The known traps of these metrics, one test each; those of the engines are in their own file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from metrics_pages import (
    SELECTION,
    counting,
    gauge,
    histogram,
    observed,
    over_time,
)

from planner.metrics.evaluator import Answers
from planner.metrics.presets import PRESETS
from planner.metrics.quality import QualitySettings
from planner.metrics.reading import queries
from planner.metrics.source import Interpreter, QueriedSource
from policies.types import Trust


def test_trap_01_unknown_is_not_zero() -> None:
    """A quotient of nothing over nothing is unknown, and so is what was never scraped."""
    idle = counting("dynamo_frontend_requests_started", 'model="tiny"', 0)
    seen = observed("dynamo", over_time("frontend-0", idle))
    assert seen.requests_per_second == 0
    assert seen.output_tokens_mean is None
    assert seen.ttft.mean_seconds is None
    assert seen.kv_usage_fraction is None
    assert seen.trust is Trust.SCALE_OUT_ONLY


def test_trap_02_the_dynamo_router_counts_each_request_twice() -> None:
    frontend = counting("dynamo_frontend_requests_started", 'model="tiny"', 2)
    router = counting("dynamo_component_router_requests_started", 'router_id="1"', 4)
    both = [a + b for a, b in zip(frontend, router, strict=True)]
    assert observed("dynamo", over_time("frontend-0", both)).requests_per_second == 2


def test_trap_03_dynamo_workers_count_a_second_endpoint() -> None:
    name = "dynamo_component_inflight_requests"
    page = (
        f"# TYPE {name} gauge\n"
        f'{name}{{dynamo_component="backend",dynamo_endpoint="generate",dynamo_namespace="d"}} 5\n'
        f'{name}{{dynamo_component="backend",dynamo_endpoint="worker_kv_query_source_1",'
        'dynamo_namespace="d"} 3\n'
    )
    assert observed("dynamo", [(0, {"decode-0": page})]).running_requests.decode == 5


@pytest.mark.parametrize("label", ["Tiny", "tiny"])
def test_trap_04a_dynamo_spells_a_model_as_it_is_or_in_lower_case(label: str) -> None:
    """Version 1.6.1 keeps `Tiny`; asking for `tiny` alone would see no demand at all."""
    started = counting("dynamo_frontend_requests_started", f'model="{label}"', 2)
    assert observed("dynamo", over_time("frontend-0", started)).requests_per_second == 2


def test_trap_04b_dynamo_suffixes_its_namespace_and_writes_underscores() -> None:
    selection = replace(SELECTION, dynamo_namespace="my-ns")
    labels = 'dynamo_component="prefill",dynamo_endpoint="generate",dynamo_namespace="{}"'
    pages = {
        f"prefill-{i}": gauge("dynamo_component_inflight_requests", labels.format(namespace), 4)
        for i, namespace in enumerate(("my_ns-3f9a", "my_ns", "another", "my_ns2"))
    }
    seen = observed("dynamo", [(0, pages)], selection)
    assert list(seen.running_requests) == [2, None]
    assert seen.waiting_requests.prefill == 6


def test_trap_04c_a_dynamo_front_end_has_no_namespace_of_dynamo() -> None:
    selection = replace(SELECTION, dynamo_namespace="my-ns")
    started = counting("dynamo_frontend_requests_started", 'model="tiny"', 2)
    seen = observed("dynamo", over_time("frontend-0", started), selection)
    assert seen.requests_per_second == 2


def test_trap_04d_buckets_of_front_end_and_router_are_never_mixed() -> None:
    labels = 'model="tiny"'
    pages = [
        histogram(
            "dynamo_frontend_inter_token_latency_seconds",
            labels,
            {"0.011": 0, "0.02": n, "+Inf": n},
            n * 0.015,
        )
        + histogram(
            "dynamo_component_router_inter_token_latency_seconds",
            labels,
            {"0.0019": n, "+Inf": 2 * n},
            n,
        )
        for n in range(1000, 1500, 100)
    ]
    seen = observed("dynamo", over_time("frontend-0", pages))
    assert seen.itl.p50_seconds == pytest.approx(0.0155)


def test_trap_04e_a_renamed_front_end_is_unknown_not_idle() -> None:
    started = counting("mine_requests_started", 'model="tiny"', 2)
    seen = observed("dynamo", over_time("frontend-0", started))
    assert seen.requests_per_second is None
    assert seen.trust is Trust.NONE


def test_trap_07_a_counter_restarts_on_its_own() -> None:
    """Two front ends of one request/s each; one restarts and counts from zero."""
    steady = counting("dynamo_frontend_requests_started", 'model="tiny"', 1)
    fresh = counting("dynamo_frontend_requests_started", 'model="tiny"', 1, start=0)
    restarted = [*steady[:3], *fresh[1:3]]
    scrapes = [
        (15.0 * i, {"frontend-0": a, "frontend-1": b})
        for i, (a, b) in enumerate(zip(steady, restarted, strict=True))
    ]
    assert observed("dynamo", scrapes).requests_per_second == pytest.approx(2, rel=0.05)


def test_trap_08_gauges_of_a_deleted_pod_do_not_linger() -> None:
    page = (
        '# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name="Tiny"} 7\n'
    )
    scrapes = [(0.0, {"decode-0": page, "decode-1": page}), (15.0, {"decode-0": page})]
    assert observed("vllm-llmd", scrapes).waiting_requests.decode == 7


async def test_trap_10e_a_stack_under_unknown_names_is_refused_loudly() -> None:
    source = QueriedSource(Nothing(), Interpreter(PRESETS["trtllm"], SELECTION, QualitySettings()))
    seen = await source.observe(0.0)
    assert seen.trust is Trust.NONE
    assert "no data at all" in seen.problems[0]
    assert "TensorRT-LLM" in seen.problems[0]


class Nothing:
    """A server that knows none of the names it is asked for."""

    async def evaluate(self, expressions: Mapping[str, str], at_seconds: float) -> Answers:
        return Answers(dict.fromkeys(expressions, ()))

    async def close(self) -> None:
        """Nothing to release."""


@pytest.mark.parametrize(("shown", "read_as"), [(0.45, 0.45), (1.0, 1.0), (45.0, None)])
def test_trap_12_what_is_called_percent_is_a_fraction(shown: float, read_as: float | None) -> None:
    name = "dynamo_component_gpu_cache_usage_percent"
    page = f"# TYPE {name} gauge\n{name} {shown}\n"
    assert observed("dynamo", [(0, {"decode-0": page})]).kv_usage_fraction == read_as


def test_trap_13_at_zero_replicas_the_demand_signal_is_gone_not_zero() -> None:
    seen = observed("sglang", [(0, {"frontend-0": "# TYPE x gauge\nx 1\n"})])
    assert seen.requests_per_second is None
    assert seen.trust is Trust.NONE


def test_trap_15_counters_are_asked_for_with_their_suffix() -> None:
    gauges = {"sglang:http_requests_total"}
    for preset in PRESETS.values():
        for query in queries(preset, SELECTION).values():
            for call in query.split("rate(")[1:]:
                name = call.split("{")[0]
                assert name.endswith(("_total", "_sum", "_count", "_bucket")) or name in gauges


@pytest.mark.parametrize("name", ["context_length", "pool_saturation", "kv_hit_rate"])
def test_trap_16_numbers_that_mislead_are_never_asked_for(name: str) -> None:
    """A mock engine's context of 0, an empty pool's saturation of 1, a hit rate counted twice."""
    for preset in PRESETS.values():
        assert not any(name in query for query in queries(preset, SELECTION).values())


def test_trap_22_dynamos_estimate_of_a_transfer_of_0_seconds_is_no_measurement() -> None:
    """Version 1.6.1 counts transfers and adds 0 s for each when nothing measures them."""
    name = "dynamo_component_router_kv_transfer_estimated_latency_seconds"
    pages = [histogram(name, 'dynamo_namespace="d"', {"+Inf": n}, 0) for n in range(0, 100, 20)]
    assert observed("dynamo", over_time("frontend-0", pages)).kv_transfer.mean_seconds is None


def test_trap_23_a_router_that_keeps_no_queue_does_not_hide_the_workers() -> None:
    """Its gauge reads 0 whatever waits in an engine that shows no queue of its own."""
    router = gauge(
        "dynamo_frontend_router_queue_pending_requests", 'model="Tiny",worker_type="prefill"', 0
    )
    labels = 'dynamo_component="prefill",dynamo_endpoint="generate",dynamo_namespace="d"'
    worker = gauge("dynamo_component_inflight_requests", labels, 62)
    seen = observed("dynamo", [(0, {"frontend-0": router, "prefill-0": worker})])
    assert seen.waiting_requests.prefill == 61
    assert seen.running_requests.prefill == 1
