"""SGLang with P/D disaggregation; every server needs `--enable-metrics`.

Both roles count every request, and each tensor-parallel rank may repeat a gauge, so everything is
read by role and reduced per replica first.
"""

from __future__ import annotations

from planner.metrics.phrases import (
    DECODE_PODS,
    MODEL_NAME,
    PREFILL_PODS,
    age,
    buckets,
    label_values,
    mean,
    or_zero,
    plus,
    pods,
    rank_gauge,
    rate,
    ratio,
    samples,
    select,
)
from planner.metrics.preset import Preset, Signal
from planner.metrics.presets import versions

_PREFILL = f'{MODEL_NAME},engine_type="prefill"'
_DECODE = f'{MODEL_NAME},engine_type="decode"'
_REPORTING = ("sglang:num_running_reqs",)
_ENDPOINTS = 'endpoint=~"/v1/chat/completions|/v1/completions|/generate"'


def _queue(name: str, role: str) -> str:
    # `priority=""` leaves out the copies per priority, and matches where there is no such label.
    return rank_gauge("sum", f"sglang:{name}", f'{role},priority=""')


def _growth(name: str) -> str:
    series = select(f"sglang:{name}", f'{_DECODE},priority=""')
    return f"sum(max by (pod, dp_rank) (deriv({series}[$window])))"


# Counters move when a request ends, long ones late; what piles up meanwhile is in decode's
# queues, where every request is known from its start.
_INFLOW = plus(
    rate("sglang:num_requests_total", _DECODE),
    _growth("num_running_reqs"),
    or_zero(_growth("num_decode_prealloc_queue_reqs")),
    or_zero(_growth("num_decode_transfer_queue_reqs")),
)

_TRAFFIC = {
    "requests_per_second": Signal(
        (rate("sglang:http_requests_total", f"{DECODE_PODS},{_ENDPOINTS}"), _INFLOW),
        meaning="requests at the decode servers' HTTP front, where each arrives at once; "
        "else ended plus piled up",
        excludes="requests held by a gateway",
    ),
    "arrival_dispersion": Signal(
        (samples("sglang:http_requests_total", f"{DECODE_PODS},{_ENDPOINTS}"),),
        meaning="how bursty those arrivals are; where they are not counted unknown",
    ),
    "finished_per_second": Signal(
        (rate("sglang:num_requests_total", _DECODE),),
        meaning="requests ended on decode servers",
    ),
    "demand_age_seconds": Signal(
        (
            age("sglang:http_requests_total", f"{DECODE_PODS},{_ENDPOINTS}"),
            age("sglang:num_requests_total", _DECODE),
        ),
        meaning="time since the newest sample of what counts the arrivals",
    ),
    "input_tokens_mean": Signal(
        (
            mean("sglang:prompt_tokens_histogram", _DECODE),
            ratio(
                rate("sglang:prompt_tokens_total", _DECODE),
                rate("sglang:num_requests_total", _DECODE),
            ),
        ),
        meaning="prompt length of ended requests",
    ),
    "input_tokens_buckets": Signal(
        (buckets("sglang:prompt_tokens_histogram", _DECODE),),
        meaning="distribution of prompt lengths",
        since="with --collect-tokens-histogram",
    ),
    "output_tokens_mean": Signal(
        (
            mean("sglang:generation_tokens_histogram", _DECODE),
            ratio(
                rate("sglang:generation_tokens_total", _DECODE),
                rate("sglang:num_requests_total", _DECODE),
            ),
        ),
        meaning="generated tokens of ended requests",
    ),
    "output_tokens_buckets": Signal(
        (buckets("sglang:generation_tokens_histogram", _DECODE),),
        meaning="distribution of generated tokens",
        since="with --collect-tokens-histogram",
    ),
    "prefix_hit_fraction": Signal(
        (
            ratio(
                rate("sglang:cached_tokens_total", _PREFILL),
                rate("sglang:prompt_tokens_total", _PREFILL),
            ),
        ),
        meaning="share of prompt tokens that a prefill server's caches held; a server writes "
        "either each cache's count or one total, so the sum counts nothing twice",
    ),
}

_LATENCY = {
    "ttft_mean_seconds": Signal(
        (mean("sglang:time_to_first_token_seconds", _DECODE),),
        meaning="arrival at a decode server to first token; both servers are called at once",
        excludes="the time in a gateway",
    ),
    "ttft_buckets": Signal(
        (buckets("sglang:time_to_first_token_seconds", _DECODE),),
        meaning="distribution of TTFT; below 100 ms its quantiles are unknown",
    ),
    "itl_mean_seconds": Signal(
        (mean("sglang:inter_token_latency_seconds", _DECODE),),
        meaning="gap between two tokens, per gap",
    ),
    "itl_buckets": Signal(
        (buckets("sglang:inter_token_latency_seconds", _DECODE),),
        meaning="distribution of the gaps",
    ),
}

_POOLS = {
    "prefill_waiting_requests": Signal(
        (
            plus(
                _queue("num_queue_reqs", _PREFILL),
                _queue("num_prefill_bootstrap_queue_reqs", _PREFILL),
            ),
            plus(
                _queue("num_queue_reqs", _PREFILL),
                _queue("num_prefill_prealloc_queue_reqs", _PREFILL),
            ),
        ),
        meaning="requests waiting for prefill or for the handshake with decode",
        since="bootstrap queue 0.5.13, prealloc queue before",
    ),
    "prefill_running_requests": Signal(
        (_queue("num_running_reqs", _PREFILL),), meaning="requests in prefill"
    ),
    **pods("prefill", PREFILL_PODS, _REPORTING),
    "decode_waiting_requests": Signal(
        (
            plus(
                _queue("num_decode_prealloc_queue_reqs", _DECODE),
                or_zero(_queue("num_queue_reqs", _DECODE)),
            ),
        ),
        meaning="requests waiting for decode's KV space or for its scheduler",
    ),
    "decode_running_requests": Signal(
        (_queue("num_running_reqs", _DECODE),), meaning="requests in decode"
    ),
    **pods("decode", DECODE_PODS, _REPORTING),
}

_KV = {
    "prefill_tokens_per_second": Signal(
        (rate("sglang:prompt_tokens_total", _PREFILL),),
        meaning="prompt tokens of requests ended on prefill servers",
    ),
    "kv_usage_fraction": Signal(
        (rank_gauge("avg", "sglang:token_usage", _DECODE),),
        meaning="mean use of the decode replicas' KV memory",
    ),
    "kv_usage_max_fraction": Signal(
        (rank_gauge("max", "sglang:token_usage", _DECODE),),
        meaning="the same of the fullest replica",
    ),
    "kv_transfer_backlog_requests": Signal(
        (
            _queue("num_prefill_inflight_queue_reqs", _PREFILL),
            _queue("num_decode_transfer_queue_reqs", _DECODE),
        ),
        meaning="requests being sent, seen from prefill, else from decode: the same requests, "
        "so never their sum",
    ),
    "kv_transfer_mean_seconds": Signal(
        (
            f"({mean('sglang:kv_transfer_latency_ms', _PREFILL)}) / 1000",
            f"avg({select('sglang:kv_transfer_latency_ms', _PREFILL)}) / 1000",
        ),
        meaning="time of one KV transfer",
        since="a histogram from 0.5.11, a gauge before",
    ),
    "kv_transfer_bytes_per_second": Signal(
        (f"{rate('sglang:kv_transfer_total_mb_sum', _PREFILL)} * 1048576",),
        meaning="KV bytes moved per second of wall time; what the stack calls MB is MiB",
    ),
    "kv_transfer_failures_per_second": Signal(
        (
            plus(
                rate("sglang:num_transfer_failed_reqs_total", MODEL_NAME),
                or_zero(rate("sglang:num_bootstrap_failed_reqs_total", MODEL_NAME)),
            ),
        ),
        meaning="requests whose transfer or handshake failed",
    ),
}

PRESET = Preset(
    name="sglang",
    stack="SGLang",
    since="0.5.9",
    marks={"SGLang": versions.SGLANG},
    models=label_values("model_name", "sglang:num_running_reqs"),
    signals={**_TRAFFIC, **_LATENCY, **_POOLS, **_KV},
)
