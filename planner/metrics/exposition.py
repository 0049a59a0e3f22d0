"""Shows a simulated fleet on a metrics page, under the names of a real serving stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from planner.metrics.exporters import EXPORTERS
from planner.metrics.families import FleetGauges, Shown
from replay.fleet import Fleet
from replay.plant import Snapshot
from replay.tally import Tally

__all__ = ["FleetCollector", "FleetGauges", "fleet_collector", "page", "pod_pages", "samples_of"]


def gauges_of(snapshot: Snapshot) -> FleetGauges:
    """Read the gauges off a simulated fleet."""
    return FleetGauges(
        waiting_requests=snapshot.waiting_requests.map(float),
        running_requests=snapshot.running_requests.map(float),
        ready_replicas=snapshot.replicas.map(lambda counts: counts.ready),
        kv_usage_fraction=snapshot.kv_usage_fraction,
        kv_transfer_backlog_requests=float(snapshot.transfers_waiting + snapshot.transfers_running),
    )


def fleet_collector(fleet: Fleet, model: str, stack: str = "dynamo") -> FleetCollector:
    """Show a simulated fleet as the pods of `stack`."""
    return FleetCollector(lambda: (fleet.tally, gauges_of(fleet.snapshot())), model, stack)


@dataclass(frozen=True, slots=True)
class FleetCollector(Collector):
    """Shows what `read` returns as the pods of `stack`.

    All pods share the page, so their series carry the `pod` label that a PodMonitor would add:
    scrape it with `honor_labels: true`.
    """

    read: Callable[[], tuple[Tally, FleetGauges]]
    model: str
    stack: str = "dynamo"

    def collect(self) -> Iterator[Metric]:
        """Yield every family with its present values."""
        tally, gauges = self.read()
        return EXPORTERS[self.stack](Shown(tally, gauges, self.model))


def samples_of(collector: Collector) -> Iterator[tuple[str, Sample]]:
    """Yield every sample with the pod that shows it; a front end is `frontend-0`."""
    for family in collector.collect():
        for sample in family.samples:
            yield sample.labels.get("pod") or "frontend-0", sample


@dataclass(frozen=True, slots=True, eq=False)  # a registry keeps collectors by identity
class _OnePod(Collector):
    """The series of one pod; None are those without a pod, which a front end shows."""

    whole: tuple[Metric, ...]
    pod: str | None

    def collect(self) -> Iterator[Metric]:
        for family in self.whole:
            mine = [s for s in family.samples if s.labels.get("pod") == self.pod]
            if mine:
                part = Metric(family.name, family.documentation, family.type)
                part.samples = mine
                yield part


def pod_pages(collector: Collector) -> dict[str, bytes]:
    """The same series as one page per pod, the front end's under the name `frontend-0`."""
    whole = tuple(collector.collect())
    pods = {s.labels.get("pod") for family in whole for s in family.samples}
    return {pod or "frontend-0": page(_OnePod(whole, pod)) for pod in pods}


def page(collector: Collector) -> bytes:
    """Render a collector in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
