"""By which metrics the versions of each program are told apart, newest first."""

from __future__ import annotations

from planner.metrics.phrases import ALL_PODS, DECODE_PODS, MODELS, PREFILL_PODS, TARGET, select
from planner.metrics.preset import Mark


def _mark(versions: str, name: str, matchers: str) -> Mark:
    return Mark(versions, f"count({select(name, matchers)})")


DYNAMO = (
    _mark("1.x, arrivals counted", "dynamo_frontend_requests_started_total", MODELS),
    _mark("1.x before arrivals were counted", "dynamo_frontend_requests_total", MODELS),
    _mark("0.x, whose names no preset reads", "dynamo_http_service_requests_total", MODELS),
    _mark("0.x, whose names no preset reads", "nv_llm_http_service_requests_total", MODELS),
)

PICKER = (
    _mark("current names, llm_d_epp_", "llm_d_epp_request_total", TARGET),
    _mark("interim names, llm_d_router_epp_", "llm_d_router_epp_request_total", TARGET),
    _mark("Gateway API inference extension", "inference_objective_request_total", TARGET),
)

VLLM = (
    _mark("0.33 or near it", "vllm:num_requests_kv_fetch_by_stage", DECODE_PODS),
    _mark("of March 2026 or newer", "vllm:num_requests_waiting_by_reason", ALL_PODS),
    _mark("0.11 or newer", "vllm:inter_token_latency_seconds_count", ALL_PODS),
    _mark("before 0.11", "vllm:time_per_output_token_seconds_count", ALL_PODS),
)

SGLANG = (
    _mark("0.5.13 or newer", "sglang:num_prefill_bootstrap_queue_reqs", PREFILL_PODS),
    _mark("0.5.11 or 0.5.12", "sglang:kv_transfer_latency_ms_count", PREFILL_PODS),
    _mark("0.5.9 or older", "sglang:num_prefill_prealloc_queue_reqs", PREFILL_PODS),
    _mark("of unknown version", "sglang:num_running_reqs", ALL_PODS),
)

TRTLLM = (
    _mark("of 2026, with the prefix trtllm_", "trtllm_request_success_total", ALL_PODS),
    _mark("1.1 or older, whose names no preset reads", "request_success_total", ALL_PODS),
)
