"""A day's rise and fall."""

from __future__ import annotations

import numpy as np

from replay.requests import Floats
from replay.traces.shapes.traffic import DAY_SECONDS, HOUR_SECONDS, Traffic
from replay.traces.synthesis import LoadAt

_TROUGH_FRACTION = 0.25
_TROUGH_SECONDS = 4 * HOUR_SECONDS


def load(traffic: Traffic) -> LoadAt:
    """A cosine with its peak at 16:00 and a quarter of it at 04:00; time 0 is midnight."""
    return lambda seconds: traffic.at(share_of_peak(seconds))


def share_of_peak(seconds: Floats) -> Floats:
    """The rate at a time of day, 1 at the peak."""
    phase = 2 * np.pi * (seconds - _TROUGH_SECONDS) / DAY_SECONDS
    return np.asarray(_TROUGH_FRACTION + (1 - _TROUGH_FRACTION) * (1 - np.cos(phase)) / 2)
