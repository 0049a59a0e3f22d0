"""A simulated fleet's numbers, and the metric families that exporters build from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

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
class Shown:
    """One fleet at one instant, under the name of its model."""

    tally: Tally
    gauges: FleetGauges
    model: str

    def first_pod(self, role: Role, labels: Mapping[str, str]) -> dict[str, str]:
        """Labels of a role's counters.

        A tally is of the whole fleet, so the pod that is always there shows it all: shares of a
        changing number of pods would fall, which in a counter means a restart.
        """
        return {"pod": f"{role}-0", **labels}

    def over_pods(
        self, name: str, totals: Mapping[Role, float], labels: Mapping[Role, Mapping[str, str]]
    ) -> Metric:
        """A gauge whose sum over the pods of each role in `totals` is its total, spread evenly."""
        return self._of_pods(
            name, labels, lambda role, _: totals[role] / self.gauges.ready_replicas[role]
        )

    def in_first_pods(
        self, name: str, totals: Mapping[Role, float], labels: Mapping[Role, Mapping[str, str]]
    ) -> Metric:
        """The same, with all of it in the pod that is always there.

        Spread over pods that have just come, a queue would seem to empty by the slopes of those
        that were there, and arrivals that are told from slopes would be gone.
        """
        return self._of_pods(name, labels, lambda role, i: 0.0 if i else totals[role])

    def _of_pods(
        self,
        name: str,
        labels: Mapping[Role, Mapping[str, str]],
        value: Callable[[Role, int], float],
    ) -> Metric:
        family = GaugeMetricFamily(name, name, labels=("pod", *next(iter(labels.values()))))
        for role, own in labels.items():
            for i in range(self.gauges.ready_replicas[role]):
                family.add_metric((f"{role}-{i}", *own.values()), value(role, i))
        return family


def gauge(name: str, labels: Mapping[str, str], value: float) -> Metric:
    """A gauge with one series."""
    family = GaugeMetricFamily(name, name, labels=tuple(labels))
    family.add_metric(tuple(labels.values()), value)
    return family


def counter(name: str, labels: Mapping[str, str], value: float) -> Metric:
    """A counter; its sample gets the suffix `_total`."""
    return counters(name, [(labels, value)])


def counters(name: str, rows: Sequence[tuple[Mapping[str, str], float]]) -> Metric:
    """One counter with several series."""
    family = CounterMetricFamily(name, name, labels=tuple(rows[0][0]))
    for labels, value in rows:
        family.add_metric(tuple(labels.values()), value)
    return family


def histogram(name: str, labels: Mapping[str, str], values: Histogram) -> Metric:
    """A histogram with its own edges."""
    return histograms(name, [(labels, values)])


def histograms(name: str, rows: Sequence[tuple[Mapping[str, str], Histogram]]) -> Metric:
    """One histogram with several series."""
    family = HistogramMetricFamily(name, name, labels=tuple(rows[0][0]))
    for labels, values in rows:
        edges = (*(f"{edge:g}" for edge in values.edges), "+Inf")
        buckets = list(zip(edges, values.counts.cumsum().tolist(), strict=True))
        family.add_metric(tuple(labels.values()), buckets, values.sum)
    return family


def scaled(values: Histogram, factor: float) -> Histogram:
    """The histogram of every value times `factor`."""
    result = Histogram((values.edges * factor).tolist())
    result.counts[:] = values.counts
    result.sum = values.sum * factor
    return result


def constant(value: float, times: int) -> Histogram:
    """The histogram of one value seen `times` times."""
    result = Histogram((value,))
    result.counts[0] = times
    result.sum = value * times
    return result
