"""NVIDIA Dynamo 1.x: demand and latency from the front end, queues from the engines behind it."""

from __future__ import annotations

from planner.metrics.phrases import buckets, gauge, mean, rank_gauge, rate, ratio
from planner.metrics.preset import Preset, Signal

_MODEL = 'model="$model"'
_PREFILL = 'pod=~"$prefill_pods"'
_DECODE = 'pod=~"$decode_pods"'

_WAITING = ("num_requests_waiting", "num_queue_reqs", "num_requests_waiting")
_RUNNING = ("num_requests_running", "num_running_reqs", "num_requests_running")
_KV_USAGE = ("kv_cache_usage_perc", "token_usage", "kv_cache_utilization")


def _engines(reduce: str, pods: str, names: tuple[str, str, str]) -> tuple[str, ...]:
    """Ask whichever engine runs behind Dynamo; its own metrics pass through the workers."""
    vllm, sglang, trtllm = names
    return (
        gauge(reduce, f"vllm:{vllm}", pods),
        rank_gauge(reduce, f"sglang:{sglang}", f'{pods},priority=""'),
        gauge(reduce, f"trtllm_{trtllm}", pods),
    )


def _inflight(component: str) -> str:
    # The workers' namespace may end in a hash; a second endpoint counts key-value lookups.
    served = 'dynamo_namespace=~"$dynamo_namespace(-.*)?"'
    worker = f'dynamo_component="{component}",dynamo_endpoint="generate"'
    return gauge("sum", "dynamo_component_inflight_requests", f"{served},{worker}")


def _router_queue(role: str) -> str:
    name = "dynamo_frontend_router_queue_pending_requests"
    return gauge("sum", name, f'{_MODEL},worker_type="{role}"')


PRESET = Preset(
    name="dynamo",
    stack="NVIDIA Dynamo 1.x",
    lowercase_model=True,
    signals={
        "requests_per_second": Signal(
            (rate("dynamo_frontend_requests_started_total", _MODEL),),
            meaning="requests accepted by the front end, at arrival",
            excludes="requests refused before they are parsed",
            since="1.0",
        ),
        "input_tokens_mean": Signal(
            (mean("dynamo_frontend_input_sequence_tokens", _MODEL),),
            meaning="prompt length, cached tokens included",
        ),
        "input_tokens_buckets": Signal(
            (buckets("dynamo_frontend_input_sequence_tokens", _MODEL),),
            meaning="distribution of prompt lengths",
        ),
        "output_tokens_mean": Signal(
            (mean("dynamo_frontend_output_sequence_tokens", _MODEL),),
            meaning="generated tokens of finished requests",
            excludes="requests still running, so a shift to longer answers shows late",
        ),
        "ttft_mean_seconds": Signal(
            (mean("dynamo_frontend_time_to_first_token_seconds", _MODEL),),
            meaning="arrival at the front end to first token: queue, prefill, KV transfer, decode",
            excludes="requests that never got a token",
        ),
        "ttft_buckets": Signal(
            (buckets("dynamo_frontend_time_to_first_token_seconds", _MODEL),),
            meaning="distribution of TTFT; edges grow by 2.15, so a quantile is that coarse",
        ),
        "itl_mean_seconds": Signal(
            (mean("dynamo_frontend_inter_token_latency_seconds", _MODEL),),
            meaning="gap between two tokens, per gap",
        ),
        "itl_buckets": Signal(
            (buckets("dynamo_frontend_inter_token_latency_seconds", _MODEL),),
            meaning="distribution of the gaps, of the front end: the router's edges differ",
        ),
        "prefill_waiting_requests": Signal(
            (*_engines("sum", _PREFILL, _WAITING), _router_queue("prefill")),
            meaning="requests waiting for a prefill engine",
            excludes="requests held by the router, when an engine answers",
        ),
        "decode_waiting_requests": Signal(
            (*_engines("sum", _DECODE, _WAITING), _router_queue("decode")),
            meaning="requests waiting for a decode engine",
            excludes="requests held by the router, when an engine answers",
        ),
        "prefill_running_requests": Signal(
            (*_engines("sum", _PREFILL, _RUNNING), _inflight("prefill")),
            meaning="requests in prefill; the last query counts waiting ones too",
        ),
        "decode_running_requests": Signal(
            (*_engines("sum", _DECODE, _RUNNING), _inflight("backend")),
            meaning="requests in decode; the last query counts waiting ones too",
        ),
        "prefix_hit_fraction": Signal(
            (
                ratio(
                    rate("dynamo_frontend_cached_tokens_sum", _MODEL),
                    rate("dynamo_frontend_input_sequence_tokens_sum", _MODEL),
                ),
            ),
            meaning="share of prompt tokens that a prefix cache held",
        ),
        "kv_usage_fraction": Signal(
            (
                gauge("avg", "dynamo_component_gpu_cache_usage_percent", _DECODE),
                *_engines("avg", _DECODE, _KV_USAGE),
            ),
            meaning="mean use of the decode replicas' KV memory, 0 to 1 whatever its name says",
        ),
        "kv_transfer_backlog_requests": Signal(
            (
                gauge(
                    "sum",
                    "vllm:num_requests_kv_fetch_by_stage",
                    f'{_DECODE},stage=~"waiting_to_start|in_progress"',
                ),
                gauge("sum", "vllm:num_requests_waiting_by_reason", f'{_DECODE},reason="deferred"'),
                rank_gauge(
                    "sum", "sglang:num_prefill_inflight_queue_reqs", f'{_PREFILL},priority=""'
                ),
            ),
            meaning="requests whose KV cache is still to arrive at decode",
            excludes="TensorRT-LLM, which does not report it",
        ),
    },
)
