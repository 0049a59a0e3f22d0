"""SGLang prefill and decode servers.

Its habits that mislead are kept: both roles count every request, a second tensor-parallel rank
repeats each gauge, and a copy per priority stands beside the total.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from planner.metrics.families import Shown, constant, counter, counters, histogram, scaled
from policies.types import Role
from replay.buckets import SGLANG

_MIB = 1024 * 1024


def export(shown: Shown) -> Iterator[Metric]:
    """Yield the families of both roles' servers."""
    yield from _gauges(shown)
    yield from _counters(shown)
    yield from _histograms(shown)


def _server(shown: Shown, role: Role) -> dict[str, str]:
    return shown.first_pod(role, {"model_name": shown.model, "engine_type": role.value})


def _gauges(shown: Shown) -> Iterator[Metric]:
    gauges = shown.gauges
    waiting, running = gauges.waiting_requests, gauges.running_requests
    backlog = gauges.kv_transfer_backlog_requests
    used = gauges.kv_usage_fraction * gauges.ready_replicas.decode
    yield _ranked(shown, "num_queue_reqs", {Role.PREFILL: waiting.prefill, Role.DECODE: 0.0})
    yield _ranked(shown, "num_running_reqs", dict(running.items()))
    yield _ranked(shown, "num_prefill_bootstrap_queue_reqs", {Role.PREFILL: 0.0})
    yield _ranked(shown, "num_decode_prealloc_queue_reqs", {Role.DECODE: waiting.decode})
    yield _ranked(shown, "num_prefill_inflight_queue_reqs", {Role.PREFILL: backlog})
    yield _ranked(shown, "num_decode_transfer_queue_reqs", {Role.DECODE: backlog})
    yield _ranked(shown, "token_usage", {Role.DECODE: used})


def _ranked(shown: Shown, name: str, totals: dict[Role, float]) -> Metric:
    names = ("pod", "model_name", "engine_type", "tp_rank", "priority")
    family = GaugeMetricFamily(f"sglang:{name}", name, labels=names)
    for role, total in totals.items():
        replicas = shown.gauges.ready_replicas[role]
        for i in range(replicas):
            for rank in "01":
                for priority in ("", "None"):
                    labels = (f"{role}-{i}", shown.model, role.value, rank, priority)
                    family.add_metric(labels, total / replicas)
    return family


def _counters(shown: Shown) -> Iterator[Metric]:
    tally = shown.tally
    servers = [_server(shown, role) for role in Role]
    for name, value in (
        ("num_requests", tally.finished_requests),
        ("prompt_tokens", tally.input_tokens.sum),
        ("generation_tokens", tally.generated_tokens),
    ):
        yield counters(f"sglang:{name}", [(server, value) for server in servers])
    yield counter(
        "sglang:cached_tokens", {**servers[0], "cache_source": "device"}, tally.cached_tokens.sum
    )
    yield counter("sglang:num_transfer_failed_reqs", servers[0], tally.failed_transfers)
    yield counters(
        "sglang:http_requests",
        [
            ({"pod": "decode-0", "endpoint": "/v1/chat/completions"}, tally.arrived_requests),
            ({"pod": "decode-0", "endpoint": "/health"}, 10 * tally.arrived_requests),
            ({"pod": "prefill-0", "endpoint": "/v1/chat/completions"}, tally.arrived_requests),
        ],
    )


def _histograms(shown: Shown) -> Iterator[Metric]:
    tally = shown.tally
    prefill, decode = (_server(shown, role) for role in Role)
    for name, values, edges in (
        ("time_to_first_token_seconds", tally.ttft_seconds, SGLANG.ttft_seconds),
        ("inter_token_latency_seconds", tally.itl_seconds, SGLANG.itl_seconds),
        ("prompt_tokens_histogram", tally.input_tokens, SGLANG.input_tokens),
        ("generation_tokens_histogram", tally.output_tokens, SGLANG.output_tokens),
    ):
        yield histogram(f"sglang:{name}", decode, values.regrouped(edges))
    mean_mib = tally.transfer_bytes.sum / _MIB / max(tally.transfer_bytes.count, 1)
    moved = constant(mean_mib, tally.transfer_bytes.count)
    yield histogram("sglang:kv_transfer_latency_ms", prefill, scaled(tally.transfer_seconds, 1000))
    yield histogram("sglang:kv_transfer_total_mb", prefill, moved)
