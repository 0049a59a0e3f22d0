"""TensorRT-LLM context and generation servers, KV transfers as Dynamo adds them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric

from planner.metrics.families import Shown, counter, counters, histogram
from policies.types import Role
from replay.buckets import VLLM

_TOKENS_PER_BLOCK = 32


def export(shown: Shown) -> Iterator[Metric]:
    """Yield the families of both roles' servers."""
    tally, gauges = shown.tally, shown.gauges
    server = {"model_name": shown.model, "engine_type": "trtllm"}
    both = dict.fromkeys(Role, server)
    yield shown.in_first_pods(
        "trtllm_num_requests_waiting", dict(gauges.waiting_requests.items()), both
    )
    yield shown.in_first_pods(
        "trtllm_num_requests_running", dict(gauges.running_requests.items()), both
    )
    used = gauges.kv_usage_fraction * gauges.ready_replicas.decode
    yield shown.over_pods("trtllm_kv_cache_utilization", {Role.DECODE: used}, {Role.DECODE: server})
    prefill, decode = (shown.first_pod(role, server) for role in Role)
    done = {"finished_reason": "stop"}
    yield counters(
        "trtllm_request_success",
        [
            ({**prefill, **done}, tally.ttft_seconds.count),
            ({**decode, **done}, tally.finished_requests),
        ],
    )
    yield counters(
        "trtllm_prompt_tokens",
        [(prefill, tally.input_tokens.sum), (decode, tally.input_tokens.sum)],
    )
    yield counter("trtllm_generation_tokens", decode, tally.generated_tokens)
    reused = tally.cached_tokens.sum / _TOKENS_PER_BLOCK
    blocks = tally.input_tokens.sum / _TOKENS_PER_BLOCK
    yield counter("trtllm_kv_cache_reused_blocks", prefill, reused)
    yield counter("trtllm_kv_cache_missed_blocks", prefill, blocks - reused)
    ttft = tally.ttft_seconds.regrouped(VLLM.ttft_seconds)
    itl = tally.itl_seconds.regrouped(VLLM.itl_seconds)
    yield histogram("trtllm_time_to_first_token_seconds", prefill, ttft)
    yield histogram("trtllm_time_per_output_token_seconds", decode, itl)
    yield histogram("trtllm_kv_transfer_latency_seconds", decode, tally.transfer_seconds)
