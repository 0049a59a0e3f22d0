"""What `planner check` finds: statements about the surroundings, each good, doubtful or bad."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check went. A planner runs with warnings, and not after a failure."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One statement, with the remedy where it is not good."""

    state: State
    text: str


def ready(checks: tuple[Check, ...]) -> bool:
    """Whether the planner can do its work."""
    return all(check.state is not State.FAILED for check in checks)
