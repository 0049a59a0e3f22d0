"""One role's replicas, wherever they live."""

from __future__ import annotations

from typing import Protocol

from policies.types import PoolState, Unavailable


class ScalablePool(Protocol):
    """One pool. Prefill and decode may be pools of different kinds."""

    async def read(self, now_seconds: float) -> PoolState | Unavailable:
        """Read the pool; an expected outage is a value."""

    async def scale(self, replicas: int) -> str | None:
        """Ask for `replicas`; None when done, else why not, in words for the operator."""

    def advised(self, replicas: int, now_seconds: float) -> None:
        """Hear what was decided, applied or not: whoever does it by hand does not object to it."""
