"""The pools of a simulated fleet."""

from __future__ import annotations

from planner.ports import WriteFailure
from policies.types import PerRole, Pools
from replay.fleet import Fleet


class SimulatedWorkload:
    """Reads and scales a fleet that it first brings up to the time asked for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def read(self, now_seconds: float) -> Pools:
        """Let the fleet serve until now, then count its replicas."""
        self._fleet.advance(now_seconds)
        prefill, decode = self._fleet.pools()
        return PerRole(prefill, decode)

    async def scale(self, target: PerRole[int]) -> tuple[WriteFailure, ...]:
        """Ask the fleet for `target`; a simulated fleet always obeys."""
        self._fleet.scale(target)
        return ()

    async def close(self) -> None:
        """Nothing to release."""
