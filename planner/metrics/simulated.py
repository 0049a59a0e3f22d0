"""What a simulated fleet shows of itself."""

from __future__ import annotations

from policies.types import Observation
from replay.fleet import Fleet


class SimulatedMetrics:
    """Observes a fleet that it first brings up to the time asked for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def observe(self, now_seconds: float) -> Observation:
        """Let the fleet serve until now, then look."""
        self._fleet.advance(now_seconds)
        return self._fleet.observe()

    async def close(self) -> None:
        """Nothing to release."""
