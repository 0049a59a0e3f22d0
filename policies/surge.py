"""Arrivals that a window's mean does not show yet, told from the queue that they make."""

from __future__ import annotations

import math
from dataclasses import dataclass

from policies.types import Observation

# What chance may add to a queue between two readings, in standard deviations of its arrivals.
_SURE = 3.0
# Readings closer than this are one, seen twice.
_LEAST_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class QueueReading:
    """How many requests waited in front of prefill, when, and how many replicas took from them."""

    at_seconds: float
    requests: float
    ready_replicas: int

    @classmethod
    def of(
        cls, observation: Observation, ready_replicas: int, before: QueueReading | None
    ) -> QueueReading | None:
        """The newest reading; None if there is none.

        A gauge is as old as its scrape, so that two ticks may see one reading: it stands then. Its
        growth took the time between two scrapes, not between two ticks.
        """
        requests = observation.waiting_requests.prefill
        if requests is None:
            return None
        age_seconds = observation.pool_quality.prefill.age_seconds or 0.0
        now = cls(observation.observed_at_seconds - age_seconds, requests, ready_replicas)
        seen = before is not None and now.since(before) < _LEAST_SECONDS
        return before if seen else now

    def since(self, before: QueueReading) -> float:
        """Seconds from one reading to the next."""
        return self.at_seconds - before.at_seconds

    def growth_per_second(self, before: QueueReading) -> float:
        """Requests by which the queue grew each second since a reading before."""
        return (self.requests - before.requests) / self.since(before)


def surge(
    before: QueueReading | None,
    now: QueueReading | None,
    requests_per_second: float | None,
    served_per_replica: float,
    dispersion: float,
) -> float:
    """Arrivals since the last reading over those of the window; 1 where no queue tells of more.

    A rate over a minute shows a sixth of a jump after ten seconds. The queue in front of prefill
    shows all of it: what arrived is what busy replicas took, `served_per_replica` a second each,
    and what the queue grew by. Example: 35 requests per second double; replicas that can serve 41
    leave 29 each second to the queue, so after ten seconds 290 wait, and (41 + 29) / 41 as many
    arrive as the window's 41 show. A growth that chance explains, clumps of `dispersion` included,
    tells nothing.
    """
    if now is None or before is None or now is before or not requests_per_second:
        return 1.0
    chance = math.sqrt(max(dispersion, 1.0) * requests_per_second * now.since(before))
    if now.requests - before.requests <= _SURE * chance:
        return 1.0
    # As many as served throughout.
    served = served_per_replica * min(before.ready_replicas, now.ready_replicas)
    return max((served + now.growth_per_second(before)) / requests_per_second, 1.0)
