"""Shows a simulated fleet under the metric names of a real Dynamo deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from policies.types import PerRole, Role
from replay.tally import Histogram, Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetGauges:
    """What a fleet holds at one instant."""

    waiting_requests: PerRole[float]
    running_requests: PerRole[float]
    ready_replicas: PerRole[int]
    kv_usage_fraction: float
    kv_transfer_backlog_requests: float


@dataclass(frozen=True, slots=True)
class FleetCollector(Collector):
    """Renders a fleet as one front end and its workers.

    Worker series carry the `pod` label that a PodMonitor would add, so scrape the page with
    `honor_labels: true`.
    """

    read: Callable[[], tuple[Tally, FleetGauges]]
    model: str

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its present values."""
        tally, gauges = self.read()
        yield from self._frontend(tally)
        yield from self._workers(gauges)

    def _frontend(self, tally: Tally) -> Iterator[Metric]:
        model = self.model.lower()
        handled = {"endpoint": "chat_completions", "model": model, "request_type": "stream"}
        yield _counter(
            "dynamo_frontend_requests_started",
            "Requests accepted, at arrival",
            handled,
            tally.arrived_requests,
        )
        yield _counter(
            "dynamo_frontend_requests",
            "Requests finished",
            {**handled, "error_type": "", "status": "success"},
            tally.finished_requests,
        )
        yield _counter(
            "dynamo_frontend_output_tokens",
            "Tokens generated",
            {"model": model},
            tally.generated_tokens,
        )
        for name, help_text, histogram in (
            ("input_sequence_tokens", "Prompt length, tokens", tally.input_tokens),
            ("cached_tokens", "Prompt tokens found in a prefix cache", tally.cached_tokens),
            ("output_sequence_tokens", "Tokens generated per request", tally.output_tokens),
            ("time_to_first_token_seconds", "Time to first token", tally.ttft_seconds),
            ("inter_token_latency_seconds", "Inter-token latency", tally.itl_seconds),
        ):
            yield _histogram(f"dynamo_frontend_{name}", help_text, {"model": model}, histogram)

    def _workers(self, gauges: FleetGauges) -> Iterator[Metric]:
        inflight = PerRole.of(
            lambda role: gauges.waiting_requests[role] + gauges.running_requests[role]
        )
        yield self._per_pod(
            "dynamo_component_inflight_requests",
            "Requests inside a worker, waiting or running",
            gauges,
            inflight,
            dynamo=True,
        )
        for name, help_text, values in (
            ("vllm:num_requests_waiting", "Requests waiting", gauges.waiting_requests),
            ("vllm:num_requests_running", "Requests running", gauges.running_requests),
        ):
            yield self._per_pod(name, help_text, gauges, values)
        yield self._decode_only(
            "vllm:kv_cache_usage_perc",
            "KV memory in use, 0 to 1",
            gauges,
            gauges.kv_usage_fraction * gauges.ready_replicas.decode,
            {},
        )
        yield self._decode_only(
            "vllm:num_requests_kv_fetch_by_stage",
            "Requests whose KV cache is on its way",
            gauges,
            gauges.kv_transfer_backlog_requests,
            {"stage": "in_progress"},
        )

    def _per_pod(
        self,
        name: str,
        help_text: str,
        gauges: FleetGauges,
        totals: PerRole[float],
        *,
        dynamo: bool = False,
    ) -> Metric:
        """Spread the totals of both roles evenly over their pods."""
        names = ("pod", *(_DYNAMO_LABELS if dynamo else _ENGINE_LABELS))
        family = GaugeMetricFamily(name, help_text, labels=names)
        for role, replicas in gauges.ready_replicas.items():
            component = "prefill" if role is Role.PREFILL else "backend"
            rest = ("dynamo", component, "generate") if dynamo else ("0", self.model)
            for i in range(replicas):
                family.add_metric((f"{role}-{i}", *rest), totals[role] / replicas)
        return family

    def _decode_only(
        self, name: str, help_text: str, gauges: FleetGauges, total: float, labels: dict[str, str]
    ) -> Metric:
        family = GaugeMetricFamily(name, help_text, labels=("pod", *_ENGINE_LABELS, *labels))
        replicas = gauges.ready_replicas.decode
        for i in range(replicas):
            family.add_metric((f"decode-{i}", "0", self.model, *labels.values()), total / replicas)
        return family


_DYNAMO_LABELS = ("dynamo_namespace", "dynamo_component", "dynamo_endpoint")
_ENGINE_LABELS = ("engine", "model_name")


def page(collector: Collector) -> bytes:
    """Render a collector in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)


def _counter(name: str, help_text: str, labels: dict[str, str], value: float) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


def _histogram(name: str, help_text: str, labels: dict[str, str], histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, help_text, labels=tuple(labels))
    edges = (*(f"{edge:g}" for edge in histogram.edges), "+Inf")
    buckets = list(zip(edges, histogram.counts.cumsum().tolist(), strict=True))
    family.add_metric(tuple(labels.values()), buckets, histogram.sum)
    return family
