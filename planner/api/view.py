"""What the API may see of the running planner: read-only, whoever runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry

from planner.journal import Journal
from planner.ports import Clock
from policies.config import PolicySettings
from policies.profile import Profile

Mode = Literal["advise", "act", "demo"]
Summary = Mapping[str, float | str | None]


def no_summary() -> None:
    """A service without an end has no interim result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """One planner, live. `summary` gives the interim result of a demo, by the names it prints.

    `longest_tick_seconds` is what a tick may take when every port answers just in time.
    """

    journal: Journal
    profile: Profile
    settings: PolicySettings
    mode: Mode
    clock: Clock
    tick_seconds: float
    registry: CollectorRegistry
    longest_tick_seconds: float = 0.0
    summary: Callable[[], Summary | None] = no_summary
