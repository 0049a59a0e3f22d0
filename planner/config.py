"""The configuration file of `planner run`: one YAML file, every key with its unit and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, PositiveFloat, model_validator

from planner import document
from planner.errors import UserError
from planner.events_file import read_events
from planner.metrics.config import MetricsConfig, SourceKind
from planner.workloads.config import WorkloadConfig
from policies import profile as profiles
from policies.config import PolicySettings, Section
from policies.profile import Profile

DEFAULT_PROFILE = "llama-3-8b-h100-fp8-tp1"
C = TypeVar("C", bound="ReplayConfig")
Port = Annotated[int, Field(ge=0, le=65535)]


class ApiSettings(Section):
    """Where the page, the REST endpoints and the probes are served."""

    host: str = Field(default="0.0.0.0", description="address to listen on")  # noqa: S104 - a pod
    port: Port = Field(default=8080, description="TCP port; 0 takes any free one")


class LogSettings(Section):
    """What is logged, to stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="least severity shown; every tick is one line of level info, or of level "
        "warning when it could not see or not write",
    )
    format: Literal["json", "text"] = Field(
        default="json", description="json: one object per line; text: for reading"
    )


class ReplayConfig(Section):
    """What a replay needs to know; it has no use for metrics and workload, but may be told."""

    mode: Literal["advise", "act"] = Field(
        default="advise", description="advise: decide and explain; act: also set replica counts"
    )
    tick_seconds: PositiveFloat = Field(default=10.0, description="time between decisions, seconds")
    deadline_seconds: PositiveFloat = Field(
        default=8.0,
        description="longest wait for the metrics, or the cluster, in one tick, seconds; above "
        "metrics.deadline_seconds, which is one query's",
    )
    profile: str = Field(
        default=DEFAULT_PROFILE,
        description="what a replica sustains: a built-in profile's name, or the path of a profile "
        "in JSON or YAML, seen from the configuration file",
    )
    memory_file: Path | None = Field(
        default=None,
        description="where the memory of past demand survives a restart, seen from the "
        "configuration file; unset: it does not survive",
    )
    metrics: MetricsConfig | None = None
    workload: WorkloadConfig | None = None
    policy: PolicySettings = PolicySettings()
    api: ApiSettings = ApiSettings()
    log: LogSettings = LogSettings()


class Config(ReplayConfig):
    """Everything `planner run` needs to know."""

    metrics: MetricsConfig
    workload: WorkloadConfig

    @model_validator(mode="after")
    def _rates_have_two_samples(self) -> Config:
        """The scrape source reads pages once a tick, and a rate is between two readings."""
        window, tick = self.metrics.window_seconds, self.tick_seconds
        if self.metrics.source is SourceKind.SCRAPE and window < 2 * tick:
            raise ValueError(
                f"metrics.window_seconds is {window:g}, and with source: scrape it must hold two "
                f"ticks of tick_seconds, which are {tick:g} each; else no rate is ever known"
            )
        return self

    @model_validator(mode="after")
    def _front_end(self) -> Config:
        if (self.workload.router is None) != (self.policy.router is None):
            raise ValueError(
                "workload.router names the front end and policy.router says how to size it: "
                "give both, or neither"
            )
        return self


def load_for_replay(path: Path) -> ReplayConfig:
    """Read the configuration of a replay: the service's own file, or one with the policy alone."""
    return _with_events(document.read(path, ReplayConfig), path.parent)


def load(path: Path) -> Config:
    """Read a configuration file; UserError names the line, the key and the remedy."""
    return _with_events(document.read(path, Config), path.parent)


def _with_events(config: C, beside: Path) -> C:
    """The configuration with the events of its events file after its own."""
    forecast = config.policy.forecast
    if forecast.events_file is None:
        return config
    events = (*forecast.events, *read_events(beside / forecast.events_file))
    policy = config.policy.model_copy(
        update={"forecast": forecast.model_copy(update={"events": events, "events_file": None})}
    )
    return config.model_copy(update={"policy": policy})


def load_profile(name_or_path: str, beside: Path | None = None) -> Profile:
    """Load a built-in profile by name, or a file; a relative path is seen from `beside`."""
    if name_or_path in profiles.builtin_names():
        return profiles.builtin(name_or_path)
    path = (beside or Path()) / name_or_path
    if not path.is_file():
        raise UserError(
            f"profile {name_or_path}: neither a file nor a built-in profile; "
            f"built in are: {', '.join(profiles.builtin_names())}"
        )
    return document.read(path, Profile)
