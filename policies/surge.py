"""Arrivals that a window's mean does not show yet, told from the queue that they make."""

from __future__ import annotations

import math

from policies.types import Observation

# What chance may add to a queue within a tick, in standard deviations of its arrivals.
_SURE = 3.0


def surge(
    observation: Observation,
    waited_requests: float | None,
    elapsed_seconds: float,
    served_per_second: float,
    dispersion: float,
) -> float:
    """Arrivals of the last tick over those of the window; 1 where no queue tells of more.

    A rate over a minute shows a sixth of a jump after ten seconds. The queue in front of prefill
    shows all of it: what arrived is what `served_per_second` busy replicas took and what the queue
    grew by. Example: 35 requests per second double; replicas that can serve 41 leave 29 each
    second to the queue, so after ten seconds 290 wait, and (41 + 29) / 41 as many arrive as the
    window's 41 show. A growth that chance explains, clumps of `dispersion` included, tells nothing.
    """
    waiting, rate = observation.waiting_requests.prefill, observation.requests_per_second
    if waiting is None or waited_requests is None or not rate or elapsed_seconds <= 0:
        return 1.0
    growth = waiting - waited_requests
    chance = math.sqrt(max(dispersion, 1.0) * rate * elapsed_seconds)
    if growth <= _SURE * chance:
        return 1.0
    return max((served_per_second + growth / elapsed_seconds) / rate, 1.0)
