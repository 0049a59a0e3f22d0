"""Pools that are only numbers: replicas are ready as soon as they are asked for."""

from __future__ import annotations

from planner.ports import WriteFailure
from policies.types import PerRole, Pools, PoolState, Unavailable


class InMemoryWorkload:
    """Obeys at once; for a dry run, and for tests of whatever scales."""

    def __init__(self, replicas: PerRole[int]) -> None:
        self.replicas = replicas

    async def read(self, now_seconds: float) -> Pools:  # noqa: ARG002 - obedience takes no time
        """Both pools, always known and ready."""
        return self.replicas.map(lambda n: PoolState(desired_replicas=n, ready_replicas=n))

    async def scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        """Become `target`."""
        self.replicas = target
        return ()

    async def close(self) -> None:
        """Nothing to release."""


class InMemoryPool:
    """One pool of that kind; the front end of the demo, whose fleet has none to simulate."""

    def __init__(self, replicas: int) -> None:
        self.replicas = replicas

    async def read(self, now_seconds: float) -> PoolState | Unavailable:  # noqa: ARG002 - as above
        """Always known and ready."""
        return PoolState(desired_replicas=self.replicas, ready_replicas=self.replicas)

    async def scale(self, replicas: int) -> str | None:
        """Become `replicas`."""
        self.replicas = replicas
        return None

    def advised(self, replicas: int, now_seconds: float) -> None:
        """Nobody else scales it."""
