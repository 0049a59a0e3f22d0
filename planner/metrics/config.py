"""Where the metrics come from: the `metrics` section of the configuration file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import Field, HttpUrl, PositiveFloat, model_validator

from planner.metrics.preset import Selection
from planner.metrics.presets import PRESETS
from planner.ports import MetricsSource
from policies.config import Section


class SourceKind(StrEnum):
    """How the metrics are read."""

    PROMETHEUS = "prometheus"


class MetricsConfig(Section):
    """Which metrics to read, from where, and how long to wait for them."""

    source: SourceKind = Field(
        default=SourceKind.PROMETHEUS, description="prometheus: ask a Prometheus-compatible server"
    )
    url: HttpUrl | None = Field(
        default=None,
        description="address of the server, with its path prefix if it has one; "
        "for example http://prometheus.monitoring:9090",
    )
    preset: str = Field(default="dynamo", description="the serving stack's names for its metrics")
    namespace: str | None = Field(
        default=None, description="Kubernetes namespace; unset: series of any or no namespace"
    )
    labels: dict[str, str] = Field(
        default_factory=dict, description='more labels of every series, such as {cluster: "eu-1"}'
    )
    model: str = Field(min_length=1, description="model name, as the serving stack labels it")
    dynamo_namespace: str | None = Field(
        default=None, description="Dynamo's own namespace, if one Prometheus sees several"
    )
    prefill_pods: str = Field(
        default=".*prefill.*", description="regular expression (RE2) of the prefill pods' names"
    )
    decode_pods: str = Field(
        default=".*decode.*", description="regular expression (RE2) of the decode pods' names"
    )
    window_seconds: PositiveFloat = Field(
        default=60.0,
        description="rates are averages over this time, seconds; at least 4 scrape intervals",
    )
    deadline_seconds: PositiveFloat = Field(
        default=5.0, description="a query without an answer by then counts as unknown, seconds"
    )
    bearer_token_file: Path | None = Field(
        default=None, description="file with a bearer token; read anew for every observation"
    )

    @model_validator(mode="after")
    def _complete(self) -> MetricsConfig:
        if self.preset not in PRESETS:
            raise ValueError(f"preset {self.preset!r} is unknown; there are {', '.join(PRESETS)}")
        if self.url is None:
            raise ValueError("source: prometheus needs url, such as http://prometheus:9090")
        return self

    @property
    def selection(self) -> Selection:
        """Which series the queries are to read."""
        scope = {"namespace": self.namespace} if self.namespace else {}
        return Selection(
            labels={**scope, **self.labels},
            model=self.model,
            window_seconds=self.window_seconds,
            prefill_pods=self.prefill_pods,
            decode_pods=self.decode_pods,
            dynamo_namespace=self.dynamo_namespace,
        )


def make_source(config: MetricsConfig) -> MetricsSource:
    """Build the source that the configuration asks for."""
    from planner.metrics.prometheus import PrometheusEvaluator
    from planner.metrics.source import QueriedSource

    return QueriedSource(PrometheusEvaluator(config), PRESETS[config.preset], config.selection)
