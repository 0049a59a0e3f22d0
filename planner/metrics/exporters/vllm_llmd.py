"""vLLM in prefill and decode pods, under llm-d's endpoint picker (EPP) or without it.

Its habits that mislead are kept: prefill pods report whole requests of one output token, and a
decode pod's TTFT begins where prefill ended.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from planner.metrics.families import (
    Shown,
    constant,
    counter,
    counters,
    histogram,
    histograms,
    scaled,
)
from policies.types import Role
from replay.buckets import VLLM

# Share of TTFT that passes in the prefill pod.
_IN_PREFILL = 0.9
# The edges of what lasts as long as a request: below 0.3 s only the mean is known.
_WHOLE_SECONDS = (
    *(0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60),
    *(120, 240, 480, 960, 1920, 7680),
)


def export(shown: Shown) -> Iterator[Metric]:
    """Yield the picker's families and the engines'."""
    target = {"target_model_name": shown.model, "model_name": shown.model}
    yield counter("llm_d_epp_request", target, shown.tally.arrived_requests)
    ttft = shown.tally.ttft_seconds.regrouped(VLLM.ttft_seconds)
    yield histogram("llm_d_epp_request_ttft_seconds", target, ttft)
    yield from export_engines(shown)


def export_engines(shown: Shown) -> Iterator[Metric]:
    """Yield the engines' families alone."""
    yield from engine_gauges(shown)
    yield from transfers(shown)
    yield from _counters(shown)
    yield from _histograms(shown)


def _engine(shown: Shown) -> dict[str, str]:
    return {"engine": "0", "model_name": shown.model}


def engine_gauges(shown: Shown) -> Iterator[Metric]:
    """Yield queues and KV memory."""
    gauges, engine = shown.gauges, _engine(shown)
    both = dict.fromkeys(Role, engine)
    yield shown.in_first_pods(
        "vllm:num_requests_waiting", dict(gauges.waiting_requests.items()), both
    )
    yield shown.in_first_pods(
        "vllm:num_requests_running", dict(gauges.running_requests.items()), both
    )
    decode = {Role.DECODE: engine}
    used = gauges.kv_usage_fraction * gauges.ready_replicas.decode
    yield shown.over_pods("vllm:kv_cache_usage_perc", {Role.DECODE: used}, decode)
    yield shown.over_pods(
        "vllm:num_requests_kv_fetch_by_stage",
        {Role.DECODE: gauges.kv_transfer_backlog_requests},
        {Role.DECODE: {**engine, "stage": "in_progress"}},
    )


def transfers(shown: Shown) -> Iterator[Metric]:
    """Yield KV transfers, which the receiving side records."""
    tally = shown.tally
    decode = shown.first_pod(Role.DECODE, _engine(shown))
    yield histogram("vllm:nixl_xfer_time_seconds", decode, tally.transfer_seconds)
    yield histogram("vllm:nixl_bytes_transferred", decode, tally.transfer_bytes)
    yield counter("vllm:nixl_num_failed_transfers", decode, tally.failed_transfers)
    prefill = shown.first_pod(Role.PREFILL, _engine(shown))
    yield counter("vllm:prompt_tokens", prefill, tally.input_tokens.sum)


def _counters(shown: Shown) -> Iterator[Metric]:
    tally = shown.tally
    prefill, decode = (shown.first_pod(role, _engine(shown)) for role in Role)
    done = {"finished_reason": "stop"}
    yield counters(
        "vllm:request_success",
        [
            ({**prefill, **done}, tally.ttft_seconds.count),
            ({**decode, **done}, tally.finished_requests),
        ],
    )
    yield counter("vllm:prefix_cache_queries", prefill, tally.input_tokens.sum)
    yield counter("vllm:prefix_cache_hits", prefill, tally.cached_tokens.sum)


def _histograms(shown: Shown) -> Iterator[Metric]:
    tally = shown.tally
    prefill, decode = (shown.first_pod(role, _engine(shown)) for role in Role)
    prompts = tally.input_tokens.regrouped(VLLM.input_tokens)
    one_each = constant(1, tally.ttft_seconds.count).regrouped(VLLM.output_tokens)
    answers = tally.output_tokens.regrouped(VLLM.output_tokens)
    yield histograms("vllm:request_prompt_tokens", [(prefill, prompts), (decode, prompts)])
    yield histograms("vllm:request_generation_tokens", [(prefill, one_each), (decode, answers)])
    whole = scaled(tally.ttft_seconds, _IN_PREFILL).regrouped(_WHOLE_SECONDS)
    yield histogram("vllm:e2e_request_latency_seconds", prefill, whole)
    first = scaled(tally.ttft_seconds, 1 - _IN_PREFILL).regrouped(VLLM.ttft_seconds)
    yield histogram("vllm:time_to_first_token_seconds", decode, first)
    gaps = tally.itl_seconds.regrouped(VLLM.itl_seconds)
    yield histogram("vllm:inter_token_latency_seconds", decode, gaps)
