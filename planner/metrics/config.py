"""Where the metrics come from: the `metrics` section of the configuration file."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    HttpUrl,
    NonNegativeFloat,
    PositiveFloat,
    StringConstraints,
    model_validator,
)

from planner.kube import KubeSettings
from planner.metrics.evaluator import Evaluator
from planner.metrics.preset import Preset, Selection, Signal
from planner.metrics.presets import PRESETS
from planner.metrics.quality import QualitySettings
from planner.metrics.signals import SIGNALS
from planner.ports import MetricsSource
from policies.config import Section

_NAMES = ", ".join(SIGNALS)
Query = Annotated[str, StringConstraints(min_length=1)]


def _without_secrets(url: HttpUrl) -> HttpUrl:
    """Addresses are told in errors, in the log and to whoever asks the API."""
    if url.username is not None or url.password is not None:
        # The text of a ValueError is shown, what was given is not.
        raise ValueError(
            "an address must hold no user and password; give metrics.access.username and "
            "metrics.access.password_file"
        )
    return url


PlainUrl = Annotated[HttpUrl, AfterValidator(_without_secrets)]


class SourceKind(StrEnum):
    """How the metrics are read."""

    PROMETHEUS = "prometheus"
    SCRAPE = "scrape"


class Access(Section):
    """How the planner shows who it is; files are read anew for every observation."""

    bearer_token_file: Path | None = Field(default=None, description="file with a bearer token")
    username: str | None = Field(default=None, description="name for basic authentication")
    password_file: Path | None = Field(
        default=None, description="file with the password for basic authentication"
    )
    ca_file: Path | None = Field(
        default=None, description="certificates (PEM) to trust instead of the system's"
    )
    client_certificate_file: Path | None = Field(
        default=None, description="own certificate (PEM), for mutual TLS"
    )
    client_key_file: Path | None = Field(
        default=None, description="its key (PEM), if not in the same file"
    )
    verify_tls: bool = Field(
        default=True, description="false: accept any certificate; for experiments only"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description='more headers, such as {X-Scope-OrgID: "team-a"}'
    )

    @model_validator(mode="after")
    def _consistent(self) -> Access:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file belong together")
        if self.username is not None and self.bearer_token_file is not None:
            raise ValueError("give bearer_token_file or username with password_file, not both")
        if self.client_key_file is not None and self.client_certificate_file is None:
            raise ValueError("client_key_file needs client_certificate_file")
        return self


class StaticPage(Section):
    """One metrics page at a fixed address."""

    url: PlainUrl = Field(description="address of the page, such as http://10.0.0.7:8000/metrics")
    pod: str | None = Field(default=None, description="label `pod` of its series; unset: the host")
    labels: dict[str, str] = Field(default_factory=dict, description="more labels of its series")


class PodPages(Section):
    """The metrics pages of pods chosen by label."""

    selector: str = Field(min_length=1, description="Kubernetes label selector of the pods")
    port: int = Field(ge=1, le=65535, description="port of the page")
    path: str = Field(default="/metrics", pattern="^/", description="path of the page")
    scheme: Literal["http", "https"] = Field(default="http", description="protocol of the page")


class ScrapeSettings(Section):
    """Which pages to read when there is no Prometheus."""

    pages: tuple[StaticPage, ...] = Field(default=(), description="pages at fixed addresses")
    pods: tuple[PodPages, ...] = Field(
        default=(), description="pages of pods, found through the Kubernetes API in `namespace`"
    )
    kubernetes: KubeSettings = KubeSettings()


class MetricsConfig(Section):
    """Which metrics to read, from where, and how long to wait for them."""

    source: SourceKind = Field(
        default=SourceKind.PROMETHEUS,
        description="prometheus: ask a Prometheus-compatible server; "
        "scrape: read the pods' metrics pages directly",
    )
    url: PlainUrl | None = Field(
        default=None,
        description="address of the server, with its path prefix if it has one; "
        "for example http://prometheus.monitoring:9090",
    )
    scrape: ScrapeSettings = ScrapeSettings()
    access: Access = Access()
    preset: str = Field(default="dynamo", description="the serving stack's names for its metrics")
    queries: dict[str, Query | tuple[Query, ...]] = Field(
        default_factory=dict,
        description="own PromQL by signal, in place of the preset's; a list is tried in order",
    )
    lacks: tuple[str, ...] = Field(
        default=(),
        description="signals that this fleet does not report, whatever the preset says: they are "
        "not asked for, and TTFT and ITL stand in where a decision would want them",
    )
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
        default=5.0, description="a request without an answer by then counts as unknown, seconds"
    )

    history_seconds: NonNegativeFloat = Field(
        default=86_400.0,
        description="past demand read from the server at the start, so that forecasts start warm, "
        "seconds; 0: none",
    )
    quality: QualitySettings = QualitySettings()

    @model_validator(mode="after")
    def _complete(self) -> MetricsConfig:
        if self.preset not in PRESETS:
            raise ValueError(f"preset {self.preset!r} is unknown; there are {', '.join(PRESETS)}")
        self._check_lacks()
        if not self.signals.signals:
            raise ValueError("preset: custom needs queries, at least requests_per_second")
        if self.source is SourceKind.PROMETHEUS and self.url is None:
            raise ValueError("source: prometheus needs url, such as http://prometheus:9090")
        if self.source is SourceKind.SCRAPE:
            self._check_scrape()
        _check_queries(self)
        return self

    def _check_lacks(self) -> None:
        if unknown := [name for name in self.lacks if name not in SIGNALS]:
            raise ValueError(f"lacks: no signal is called {unknown[0]!r}; there are {_NAMES}")
        if both := [name for name in self.lacks if name in self.queries]:
            raise ValueError(f"{both[0]} is in lacks and has a query: which is right?")
        if "requests_per_second" in self.lacks:
            raise ValueError("lacks: nothing can be decided without requests_per_second")

    def _check_scrape(self) -> None:
        if not self.scrape.pages and not self.scrape.pods:
            raise ValueError("source: scrape needs scrape.pages or scrape.pods")
        if self.scrape.pods and not self.namespace:
            raise ValueError("scrape.pods needs namespace, where the pods are")

    @property
    def signals(self) -> Preset:
        """The preset with the configured queries in place of its own, without what is lacking."""
        preset = PRESETS[self.preset]
        own = {
            name: Signal((text,) if isinstance(text, str) else text, meaning="as configured")
            for name, text in self.queries.items()
        }
        signals = {**preset.signals, **own}
        return replace(
            preset, signals={name: signals[name] for name in signals if name not in self.lacks}
        )

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


def _check_queries(config: MetricsConfig) -> None:
    """Find what no server would accept, and what the scrape source cannot evaluate itself."""
    import promql_parser

    from planner.metrics.history import History
    from planner.metrics.promql import Evaluation
    from planner.metrics.reading import queries
    from planner.metrics.sampled import check_use

    nothing = Evaluation(History(keep_seconds=0), at_seconds=0)
    for name, query in queries(config.signals, config.selection).items():
        try:
            tree: object = promql_parser.parse(query)
            check_use(name.split("/")[0], query)
            if config.source is not SourceKind.SCRAPE:
                continue
            if isinstance(tree, promql_parser.MatrixSelector):
                nothing.points(tree)
            else:
                nothing.value(tree)
        except ValueError as error:
            raise ValueError(f"query {name}: {error}: {query}") from error


def make_evaluator(config: MetricsConfig) -> Evaluator:
    """Build what evaluates the queries; the libraries behind it are loaded only here."""
    if config.source is SourceKind.SCRAPE:
        from planner.metrics.scrape import ScrapeEvaluator

        return ScrapeEvaluator(config)
    from planner.metrics.prometheus import PrometheusEvaluator

    return PrometheusEvaluator(config)


def make_source(config: MetricsConfig, input_length_cv: float = 1.0) -> MetricsSource:
    """Build the source that the configuration asks for; see `Reading` for the spread of prompts."""
    from planner.metrics.source import Interpreter, QueriedSource

    interpreter = Interpreter(config.signals, config.selection, config.quality, input_length_cv)
    return QueriedSource(make_evaluator(config), interpreter)
