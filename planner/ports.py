"""What the loop needs of the world. Expected outages are values here; only bugs raise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from policies.types import Observation, PerRole, Pools, Role


@dataclass(frozen=True, slots=True)
class WriteFailure:
    """One role's replica count that could not be written, and why, in words for the operator."""

    role: Role
    why: str


class MetricsSource(Protocol):
    """Where observations come from. An outage gives an Observation of unknowns with `problems`."""

    async def observe(self, now_seconds: float) -> Observation:
        """Read all signals as of `now_seconds`."""

    async def close(self) -> None:
        """Release connections."""


class Workload(Protocol):
    """The two pools of one served model."""

    async def read(self, now_seconds: float) -> Pools:
        """Read both pools; one that cannot be read is `Unavailable`."""

    async def scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        """Ask for `target` replicas of each role; an equal count is not written. Empty: done."""

    async def close(self) -> None:
        """Release connections."""


class Clock(Protocol):
    """The only source of time."""

    def now_seconds(self) -> float:
        """Return seconds since the Unix epoch, or since the start of a simulation."""

    async def sleep_until(self, seconds: float) -> None:
        """Return when `now_seconds` has reached `seconds`."""
