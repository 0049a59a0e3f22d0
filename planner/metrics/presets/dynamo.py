"""NVIDIA Dynamo 1.x: demand and latency from the front end, queues from the engines behind it."""

from __future__ import annotations

from planner.metrics.phrases import (
    DECODE_PODS,
    MODELS,
    PREFILL_PODS,
    age,
    buckets,
    gauge,
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
    slope,
)
from planner.metrics.preset import Preset, Signal
from planner.metrics.presets import versions

_NAMESPACE = 'dynamo_namespace=~"$dynamo_namespace(-.*)?"'
_OF_PREFILL = f'{MODELS},phase="prefill"'
_ESTIMATED = "dynamo_component_router_kv_transfer_estimated_latency_seconds"
_RUNNING = ("num_requests_running", "num_running_reqs", "num_requests_running")
_KV_USAGE = ("kv_cache_usage_perc", "token_usage", "kv_cache_utilization")
_REPORTING = (
    "vllm:num_requests_running",
    "sglang:num_running_reqs",
    "trtllm_num_requests_running",
    "dynamo_component_inflight_requests",
)


def _engines(reduce: str, matchers: str, names: tuple[str, str, str]) -> tuple[str, ...]:
    """Ask whichever engine runs behind Dynamo; its own metrics pass through the workers."""
    vllm, sglang, trtllm = names
    return (
        gauge(reduce, f"vllm:{vllm}", matchers),
        rank_gauge(reduce, f"sglang:{sglang}", f'{matchers},priority=""'),
        gauge(reduce, f"trtllm_{trtllm}", matchers),
    )


def _sglang(name: str, matchers: str) -> str:
    return rank_gauge("sum", f"sglang:{name}", f'{matchers},priority=""')


# SGLang keeps those that wait for the other role apart from those that wait for a batch.
_PREFILL_QUEUES = (
    gauge("sum", "vllm:num_requests_waiting", PREFILL_PODS),
    *(
        plus(_sglang("num_queue_reqs", PREFILL_PODS), _sglang(handshake, PREFILL_PODS))
        for handshake in ("num_prefill_bootstrap_queue_reqs", "num_prefill_prealloc_queue_reqs")
    ),
    gauge("sum", "trtllm_num_requests_waiting", PREFILL_PODS),
)
_DECODE_QUEUES = (
    gauge("sum", "vllm:num_requests_waiting", DECODE_PODS),
    plus(
        _sglang("num_decode_prealloc_queue_reqs", DECODE_PODS),
        or_zero(_sglang("num_queue_reqs", DECODE_PODS)),
    ),
    gauge("sum", "trtllm_num_requests_waiting", DECODE_PODS),
)


def _inflight(component: str) -> str:
    # The workers' namespace may end in a hash; a second endpoint counts key-value lookups.
    worker = f'dynamo_component="{component}",dynamo_endpoint="generate"'
    return select("dynamo_component_inflight_requests", f"{_NAMESPACE},{worker}")


def _with_router(role: str, queue: str) -> str:
    """A queue in the engines and the one that the router keeps, if it was told to keep any."""
    name = "dynamo_frontend_router_queue_pending_requests"
    held = gauge("sum", name, f'{MODELS},worker_type="{role}"')
    return plus(queue, or_zero(held))


_PREFILL = {
    "prefill_waiting_requests": Signal(
        tuple(
            _with_router("prefill", queue)
            for queue in (
                *_PREFILL_QUEUES,
                f"sum(clamp_min({_inflight('prefill')} - 1, 0))",
            )
        ),
        meaning="requests waiting in prefill engines and in Dynamo's router; where an engine shows "
        "no queue, all that its worker holds but one, which counts those in its batch too",
    ),
    "prefill_running_requests": Signal(
        (
            *_engines("sum", PREFILL_PODS, _RUNNING),
            f"sum(clamp_max({_inflight('prefill')}, 1))",
        ),
        meaning="requests in prefill; where an engine shows none, one of each busy worker",
    ),
    **pods("prefill", PREFILL_PODS, _REPORTING),
}

_DECODE = {
    "decode_waiting_requests": Signal(
        tuple(_with_router("decode", queue) for queue in _DECODE_QUEUES),
        meaning="requests waiting in decode engines and in Dynamo's router",
    ),
    "decode_running_requests": Signal(
        (*_engines("sum", DECODE_PODS, _RUNNING), f"sum({_inflight('backend')})"),
        meaning="requests in decode; the last query counts waiting ones too",
    ),
    **pods("decode", DECODE_PODS, _REPORTING),
}


_TRAFFIC = {
    "requests_per_second": Signal(
        (
            rate("dynamo_frontend_requests_started_total", MODELS),
            plus(
                rate("dynamo_frontend_requests_total", MODELS),
                slope("dynamo_frontend_inflight_requests", MODELS),
            ),
        ),
        meaning="requests accepted by the front end, at arrival; else ended plus piled up",
        excludes="requests refused before they are parsed",
    ),
    "arrival_dispersion": Signal(
        (samples("dynamo_frontend_requests_started_total", MODELS),),
        meaning="how bursty those arrivals are; where they are not counted unknown",
    ),
    "finished_per_second": Signal(
        (rate("dynamo_frontend_requests_total", MODELS),),
        meaning="requests ended, failed ones included",
    ),
    "demand_age_seconds": Signal(
        (
            age("dynamo_frontend_requests_started_total", MODELS),
            age("dynamo_frontend_requests_total", MODELS),
        ),
        meaning="time since the newest sample of a front end",
    ),
    "input_tokens_mean": Signal(
        (mean("dynamo_frontend_input_sequence_tokens", MODELS),),
        meaning="prompt length, cached tokens included",
    ),
    "input_tokens_buckets": Signal(
        (buckets("dynamo_frontend_input_sequence_tokens", MODELS),),
        meaning="distribution of prompt lengths",
    ),
    "output_tokens_mean": Signal(
        (mean("dynamo_frontend_output_sequence_tokens", MODELS),),
        meaning="generated tokens of finished requests",
        excludes="requests still running, so a shift to longer answers shows late",
    ),
    "output_tokens_buckets": Signal(
        (buckets("dynamo_frontend_output_sequence_tokens", MODELS),),
        meaning="distribution of generated tokens",
    ),
    "prefix_hit_fraction": Signal(
        (
            ratio(
                rate("vllm:prefix_cache_hits_total", PREFILL_PODS),
                rate("vllm:prefix_cache_queries_total", PREFILL_PODS),
            ),
            ratio(
                rate("sglang:cached_tokens_total", PREFILL_PODS),
                rate("sglang:prompt_tokens_total", PREFILL_PODS),
            ),
            ratio(
                rate("dynamo_component_router_kv_selected_cached_prefix_tokens_total", _OF_PREFILL),
                rate("dynamo_component_router_input_sequence_tokens_sum", _OF_PREFILL),
            ),
            ratio(
                rate("dynamo_frontend_cached_tokens_sum", MODELS),
                rate("dynamo_frontend_input_sequence_tokens_sum", MODELS),
            ),
        ),
        meaning="share of prompt tokens that a prefix cache held: as the prefill engines count it, "
        "else as the router expects it of the worker it chose, else as answers report it, which "
        "are decode's",
    ),
}

_LATENCY = {
    "ttft_mean_seconds": Signal(
        (mean("dynamo_frontend_time_to_first_token_seconds", MODELS),),
        meaning="arrival at the front end to first token: queue, prefill, KV transfer, decode",
        excludes="requests that never got a token",
    ),
    "ttft_buckets": Signal(
        (buckets("dynamo_frontend_time_to_first_token_seconds", MODELS),),
        meaning="distribution of TTFT; edges grow by 2.15, so a quantile is that coarse",
    ),
    "itl_mean_seconds": Signal(
        (mean("dynamo_frontend_inter_token_latency_seconds", MODELS),),
        meaning="gap between two tokens, per gap",
    ),
    "itl_buckets": Signal(
        (buckets("dynamo_frontend_inter_token_latency_seconds", MODELS),),
        meaning="distribution of the gaps, of the front end: the router's edges differ",
    ),
}

_KV = {
    "prefill_tokens_per_second": Signal(
        (rate("vllm:prompt_tokens_total", PREFILL_PODS),),
        meaning="prompt tokens taken by the prefill engines",
        excludes="engines other than vLLM",
    ),
    "kv_usage_fraction": Signal(
        (
            gauge("avg", "dynamo_component_gpu_cache_usage_percent", DECODE_PODS),
            *_engines("avg", DECODE_PODS, _KV_USAGE),
        ),
        meaning="mean use of the decode replicas' KV memory, 0 to 1 whatever its name says",
    ),
    "kv_usage_max_fraction": Signal(
        (
            gauge("max", "dynamo_component_gpu_cache_usage_percent", DECODE_PODS),
            *_engines("max", DECODE_PODS, _KV_USAGE),
        ),
        meaning="the same of the fullest replica",
    ),
    "kv_transfer_backlog_requests": Signal(
        (
            gauge(
                "sum",
                "vllm:num_requests_kv_fetch_by_stage",
                f'{DECODE_PODS},stage=~"waiting_to_start|in_progress"',
            ),
            gauge("sum", "vllm:num_requests_waiting_by_reason", f'{DECODE_PODS},reason="deferred"'),
            _sglang("num_prefill_inflight_queue_reqs", PREFILL_PODS),
        ),
        meaning="requests whose KV cache is still to arrive at decode",
        excludes="TensorRT-LLM, which does not report it",
    ),
    "kv_transfer_mean_seconds": Signal(
        (
            mean("vllm:nixl_xfer_time_seconds", DECODE_PODS),
            mean("trtllm_kv_transfer_latency_seconds", DECODE_PODS),
            f"({mean(_ESTIMATED, _NAMESPACE)}) > 0",
        ),
        meaning="time of one KV transfer; the last query is an upper bound with decode's queue, "
        "and reads 0 where the router does not measure it, which is left out",
    ),
    "kv_transfer_bytes_per_second": Signal(
        (rate("vllm:nixl_bytes_transferred_sum", DECODE_PODS),),
        meaning="KV bytes moved per second of wall time: use of the link, not its speed",
        excludes="engines other than vLLM with NIXL",
    ),
    "kv_transfer_failures_per_second": Signal(
        (
            plus(
                rate("vllm:nixl_num_failed_transfers_total", DECODE_PODS),
                or_zero(rate("vllm:nixl_num_kv_expired_reqs_total", PREFILL_PODS)),
            ),
        ),
        meaning="KV transfers that failed, and caches that expired before they were read",
        excludes="engines other than vLLM with NIXL",
    ),
}

PRESET = Preset(
    name="dynamo",
    stack="NVIDIA Dynamo 1.x",
    since="1.0",
    marks={
        "Dynamo": versions.DYNAMO,
        "vLLM": versions.VLLM,
        "SGLang": versions.SGLANG,
        "TensorRT-LLM": versions.TRTLLM,
    },
    models=label_values("model", "dynamo_frontend_requests_total"),
    signals={**_TRAFFIC, **_LATENCY, **_PREFILL, **_DECODE, **_KV},
)
