"""TensorRT-LLM's own servers, whose metrics are at /prometheus/metrics.

They need `return_perf_metrics: true` for latencies and `enable_iter_perf_stats: true` for gauges.
"""

from __future__ import annotations

from planner.metrics.phrases import (
    ALL_PODS,
    DECODE_PODS,
    PREFILL_PODS,
    age,
    buckets,
    gauge,
    label_values,
    mean,
    plus,
    pods,
    rate,
    ratio,
    slope,
)
from planner.metrics.preset import Preset, Signal
from planner.metrics.presets import versions

_GAUGES = ("trtllm_num_requests_running",)
_COUNTERS = ("trtllm_request_success_total",)
_ENDED = rate("trtllm_request_success_total", DECODE_PODS)

_REUSED = rate("trtllm_kv_cache_reused_blocks_total", PREFILL_PODS)
_MISSED = rate("trtllm_kv_cache_missed_blocks_total", PREFILL_PODS)

_TRAFFIC = {
    "requests_per_second": Signal(
        (
            plus(
                _ENDED,
                slope("trtllm_num_requests_waiting", ALL_PODS),
                slope("trtllm_num_requests_running", ALL_PODS),
            ),
        ),
        meaning="ended plus piled up: the stack counts no arrivals, and ends alone saturate",
        excludes="requests queued in front of the servers",
    ),
    "finished_per_second": Signal((_ENDED,), meaning="requests ended on decode servers"),
    "demand_age_seconds": Signal(
        (age("trtllm_request_success_total", DECODE_PODS),),
        meaning="time since the newest sample of a decode server",
    ),
    "input_tokens_mean": Signal(
        (ratio(rate("trtllm_prompt_tokens_total", DECODE_PODS), _ENDED),),
        meaning="prompt length of ended requests",
    ),
    "output_tokens_mean": Signal(
        (ratio(rate("trtllm_generation_tokens_total", DECODE_PODS), _ENDED),),
        meaning="generated tokens of ended requests",
    ),
    "prefix_hit_fraction": Signal(
        (ratio(_REUSED, f"({plus(_REUSED, _MISSED)})"),),
        meaning="share of cache blocks found again on prefill servers",
    ),
}

_LATENCY = {
    "ttft_mean_seconds": Signal(
        (mean("trtllm_time_to_first_token_seconds", PREFILL_PODS),),
        meaning="arrival at a prefill server to its first token",
        excludes="KV transfer and decode's queue: the user waits longer",
    ),
    "ttft_buckets": Signal(
        (buckets("trtllm_time_to_first_token_seconds", PREFILL_PODS),),
        meaning="distribution of the prefill servers' TTFT",
    ),
    "itl_mean_seconds": Signal(
        (mean("trtllm_time_per_output_token_seconds", DECODE_PODS),),
        meaning="time per output token, averaged over each request",
    ),
    "itl_buckets": Signal(
        (buckets("trtllm_time_per_output_token_seconds", DECODE_PODS),),
        meaning="distribution of the same; below 10 ms its quantiles are unknown",
    ),
}


def _pool(role: str, matchers: str, own_gauge: str) -> dict[str, Signal]:
    return {
        f"{role}_waiting_requests": Signal(
            (gauge("sum", "trtllm_num_requests_waiting", matchers),),
            meaning=f"requests waiting in {role} servers",
        ),
        f"{role}_running_requests": Signal(
            (
                gauge("sum", own_gauge, matchers),
                gauge("sum", "trtllm_num_requests_running", matchers),
            ),
            meaning=f"requests in {role}",
        ),
        **pods(role, matchers, _GAUGES, _COUNTERS),
    }


_KV = {
    "prefill_tokens_per_second": Signal(
        (rate("trtllm_prompt_tokens_total", PREFILL_PODS),),
        meaning="prompt tokens of requests ended on prefill servers",
    ),
    "kv_usage_fraction": Signal(
        (gauge("avg", "trtllm_kv_cache_utilization", DECODE_PODS),),
        meaning="mean use of the decode replicas' KV memory",
    ),
    "kv_usage_max_fraction": Signal(
        (gauge("max", "trtllm_kv_cache_utilization", DECODE_PODS),),
        meaning="the same of the fullest replica",
    ),
    "kv_transfer_mean_seconds": Signal(
        (mean("trtllm_kv_transfer_latency_seconds", ALL_PODS),),
        meaning="time of one KV transfer",
        excludes="servers that do not run under Dynamo",
    ),
}

PRESET = Preset(
    name="trtllm",
    stack="TensorRT-LLM",
    since="TensorRT-LLM of 2026",
    marks={"TensorRT-LLM": versions.TRTLLM},
    models=label_values("model_name", "trtllm_request_success_total"),
    signals={
        **_TRAFFIC,
        **_LATENCY,
        **_pool("prefill", PREFILL_PODS, "trtllm_num_context_requests"),
        **_pool("decode", DECODE_PODS, "trtllm_num_generation_requests"),
        **_KV,
    },
)
