"""NVIDIA Dynamo 1.6: one front end, and workers that run vLLM."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from planner.metrics.exporters import vllm_llmd
from planner.metrics.families import Shown, counter, counters, gauge, histogram, histograms
from policies.types import PerRole, Role
from replay.buckets import DYNAMO

_COMPONENTS = PerRole("prefill", "backend")


def export(shown: Shown) -> Iterator[Metric]:
    """Yield the front end's families and the workers'."""
    yield from _frontend(shown)
    yield from _workers(shown)
    yield from vllm_llmd.engine_gauges(shown)
    yield from vllm_llmd.transfers(shown)


def _frontend(shown: Shown) -> Iterator[Metric]:
    tally = shown.tally
    model = {"model": shown.model}
    handled = {"endpoint": "chat_completions", **model, "request_type": "stream"}
    ended = {**handled, "error_type": "", "status": "success"}
    yield counter("dynamo_frontend_requests_started", handled, tally.arrived_requests)
    yield counter("dynamo_frontend_requests", ended, tally.finished_requests)
    yield counter("dynamo_frontend_output_tokens", model, tally.generated_tokens)
    inside = sum((*shown.gauges.waiting_requests, *shown.gauges.running_requests))
    yield gauge("dynamo_frontend_inflight_requests", model, inside)
    for name, values, edges in (
        ("input_sequence_tokens", tally.input_tokens, DYNAMO.input_tokens),
        ("cached_tokens", tally.cached_tokens, DYNAMO.input_tokens),
        ("output_sequence_tokens", tally.output_tokens, DYNAMO.output_tokens),
        ("time_to_first_token_seconds", tally.ttft_seconds, DYNAMO.ttft_seconds),
        ("inter_token_latency_seconds", tally.itl_seconds, DYNAMO.itl_seconds),
    ):
        yield histogram(f"dynamo_frontend_{name}", model, values.regrouped(edges))
    yield from _router(shown)


def _router(shown: Shown) -> Iterator[Metric]:
    """The router counts every request once for each role."""
    cached, prompts = shown.tally.cached_tokens, shown.tally.input_tokens
    name = "dynamo_component_router_kv_selected_cached_prefix_tokens"
    phases = [{"model": shown.model, "phase": role.value} for role in Role]
    prefill, decode = phases
    yield counters(name, [(prefill, cached.sum), (decode, 0.0)])
    prompts = prompts.regrouped(DYNAMO.input_tokens)
    rows = [(phase, prompts) for phase in phases]
    yield histograms("dynamo_component_router_input_sequence_tokens", rows)
    both = 2 * shown.tally.arrived_requests
    yield counter("dynamo_component_router_requests_started", {"router_id": "1"}, both)


def _workers(shown: Shown) -> Iterator[Metric]:
    gauges = shown.gauges
    yield shown.over_pods(
        "dynamo_component_inflight_requests",
        {role: gauges.waiting_requests[role] + gauges.running_requests[role] for role in Role},
        {
            role: {
                "dynamo_namespace": "dynamo",
                "dynamo_component": _COMPONENTS[role],
                "dynamo_endpoint": "generate",
            }
            for role in Role
        },
    )
