"""vLLM in prefill and decode pods, behind any router.

A router or sidecar first calls a prefill pod to completion (one token), then a decode pod. Prefill
pods therefore report whole requests of output length 1, and decode's TTFT leaves prefill out.
"""

from __future__ import annotations

from planner.metrics.phrases import (
    ALL_PODS,
    DECODE_PODS,
    MODEL_NAME,
    PREFILL_PODS,
    age,
    buckets,
    gauge,
    label_values,
    mean,
    or_zero,
    plus,
    pods,
    rate,
    ratio,
    samples,
    slope,
)
from planner.metrics.preset import Preset, Signal
from planner.metrics.presets import versions

_PREFILL = f"{MODEL_NAME},{PREFILL_PODS}"
_DECODE = f"{MODEL_NAME},{DECODE_PODS}"
_BOTH = f"{MODEL_NAME},{ALL_PODS}"
_REPORTING = ("vllm:num_requests_running",)

# Most routers count answers, not arrivals. What ended plus what piled up is what came in; ends
# alone would saturate at capacity exactly when more is needed.
_INFLOW = plus(
    rate("vllm:request_success_total", _DECODE),
    slope("vllm:num_requests_waiting", _BOTH),
    slope("vllm:num_requests_running", _BOTH),
)

_TRAFFIC = {
    "requests_per_second": Signal(
        (
            rate("vllm:num_incoming_requests_total", 'model="$model"'),
            _INFLOW,
        ),
        meaning="requests taken by the production stack's router; else ended plus piled up",
        excludes="without that router: requests queued in front of the engines",
    ),
    "arrival_dispersion": Signal(
        (samples("vllm:num_incoming_requests_total", 'model="$model"'),),
        meaning="how bursty those arrivals are; without that router unknown",
    ),
    "finished_per_second": Signal(
        (rate("vllm:request_success_total", _DECODE),),
        meaning="requests ended on decode pods",
        excludes="aborted requests",
    ),
    "demand_age_seconds": Signal(
        (
            age("vllm:num_incoming_requests_total", 'model="$model"'),
            age("vllm:request_success_total", _DECODE),
        ),
        meaning="time since the newest sample of what counts the arrivals",
    ),
    "input_tokens_mean": Signal(
        (mean("vllm:request_prompt_tokens", _DECODE),), meaning="prompt length, of ended requests"
    ),
    "input_tokens_buckets": Signal(
        (buckets("vllm:request_prompt_tokens", _DECODE),), meaning="distribution of prompt lengths"
    ),
    "output_tokens_mean": Signal(
        (mean("vllm:request_generation_tokens", _DECODE),),
        meaning="generated tokens of ended requests, from decode pods only",
    ),
    "output_tokens_buckets": Signal(
        (buckets("vllm:request_generation_tokens", _DECODE),),
        meaning="distribution of generated tokens",
    ),
    "prefix_hit_fraction": Signal(
        (
            ratio(
                rate("vllm:prefix_cache_hits_total", _PREFILL),
                rate("vllm:prefix_cache_queries_total", _PREFILL),
            ),
        ),
        meaning="share of prompt tokens that a prefill pod's prefix cache held",
    ),
}

_LATENCY = {
    "ttft_mean_seconds": Signal(
        (
            plus(
                mean("vllm:e2e_request_latency_seconds", _PREFILL),
                mean("vllm:time_to_first_token_seconds", _DECODE),
            ),
        ),
        meaning="prefill's whole plus decode's first token; quantiles of two parts do not add",
        excludes="the time in the router",
    ),
    "itl_mean_seconds": Signal(
        (mean("vllm:inter_token_latency_seconds", _DECODE),),
        meaning="gap between two tokens, per gap",
    ),
    "itl_buckets": Signal(
        (buckets("vllm:inter_token_latency_seconds", _DECODE),),
        meaning="distribution of the gaps; below 10 ms its quantiles are unknown",
    ),
}

_POOLS = {
    "prefill_waiting_requests": Signal(
        (gauge("sum", "vllm:num_requests_waiting", _PREFILL),),
        meaning="requests waiting in prefill engines",
        excludes="requests held by the router",
    ),
    "prefill_running_requests": Signal(
        (gauge("sum", "vllm:num_requests_running", _PREFILL),), meaning="requests in prefill"
    ),
    **pods("prefill", PREFILL_PODS, _REPORTING),
    "decode_waiting_requests": Signal(
        (
            gauge("sum", "vllm:num_requests_waiting_by_reason", f'{_DECODE},reason="capacity"'),
            gauge("sum", "vllm:num_requests_waiting", _DECODE),
        ),
        meaning="requests waiting in decode engines for room; the second query counts those "
        "waiting for their KV cache too",
    ),
    "decode_running_requests": Signal(
        (gauge("sum", "vllm:num_requests_running", _DECODE),), meaning="requests in decode"
    ),
    **pods("decode", DECODE_PODS, _REPORTING),
}

_KV = {
    "prefill_tokens_per_second": Signal(
        (rate("vllm:prompt_tokens_total", _PREFILL),), meaning="prompt tokens taken by prefill pods"
    ),
    "kv_usage_fraction": Signal(
        (
            gauge("avg", "vllm:kv_cache_usage_perc", _DECODE),
            gauge("avg", "vllm:gpu_cache_usage_perc", _DECODE),
        ),
        meaning="mean use of the decode replicas' KV memory, 0 to 1 whatever its name says",
    ),
    "kv_usage_max_fraction": Signal(
        (
            gauge("max", "vllm:kv_cache_usage_perc", _DECODE),
            gauge("max", "vllm:gpu_cache_usage_perc", _DECODE),
        ),
        meaning="the same of the fullest replica",
    ),
    "kv_transfer_backlog_requests": Signal(
        (
            gauge(
                "sum",
                "vllm:num_requests_kv_fetch_by_stage",
                f'{_DECODE},stage=~"waiting_to_start|in_progress"',
            ),
            gauge("sum", "vllm:num_requests_waiting_by_reason", f'{_DECODE},reason="deferred"'),
        ),
        meaning="requests whose KV cache is still to arrive at decode",
        since="vLLM of March 2026",
    ),
    "kv_transfer_mean_seconds": Signal(
        (
            mean("vllm:nixl_xfer_time_seconds", _DECODE),
            mean("vllm:mooncake_xfer_time_seconds", _DECODE),
        ),
        meaning="time of one KV transfer",
        since="vLLM of November 2025",
    ),
    "kv_transfer_bytes_per_second": Signal(
        (
            rate("vllm:nixl_bytes_transferred_sum", _DECODE),
            rate("vllm:mooncake_bytes_transferred_sum", _DECODE),
        ),
        meaning="KV bytes moved per second of wall time: use of the link, not its speed",
        since="vLLM of November 2025",
    ),
    "kv_transfer_failures_per_second": Signal(
        (
            plus(
                rate("vllm:nixl_num_failed_transfers_total", _DECODE),
                or_zero(rate("vllm:nixl_num_kv_expired_reqs_total", _PREFILL)),
            ),
            rate("vllm:mooncake_num_failed_transfers_total", _DECODE),
        ),
        meaning="KV transfers that failed, as the receiving decode pods count them, and caches "
        "that expired on prefill before they were read",
        since="vLLM of November 2025",
    ),
}

PRESET = Preset(
    name="vllm",
    stack="vLLM behind a router",
    since="vLLM 0.11",
    marks={"vLLM": versions.VLLM},
    models=label_values("model_name", "vllm:num_requests_running"),
    signals={**_TRAFFIC, **_LATENCY, **_POOLS, **_KV},
)
