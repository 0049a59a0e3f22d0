"""Bursts that nobody can foresee."""

from __future__ import annotations

import numpy as np

from replay.requests import Floats
from replay.traces.shapes.traffic import HOUR_SECONDS, Traffic
from replay.traces.synthesis import Load, LoadAt

_BURSTS_PER_SECOND = 1.5 / HOUR_SECONDS
_LENGTHS_SECONDS = (60.0, 600.0)
_EXTRA = (0.5, 2.0)


def load(traffic: Traffic) -> LoadAt:
    """Bursts at Poisson times, 1.5 per hour, each adding half to twice the level."""
    random = np.random.default_rng((traffic.seed, 1))
    count = 1 + random.poisson(_BURSTS_PER_SECOND * traffic.duration_seconds)
    starts = random.uniform(0, traffic.duration_seconds, count)
    ends = starts + random.uniform(*_LENGTHS_SECONDS, count)
    extras = random.uniform(*_EXTRA, count)

    def load_at(seconds: Floats) -> Load:
        inside = (seconds[:, None] >= starts) & (seconds[:, None] < ends)
        return traffic.at(1 + inside @ extras)

    return load_at
