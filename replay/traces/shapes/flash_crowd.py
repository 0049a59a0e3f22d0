"""A crowd that comes at once and leaves slowly."""

from __future__ import annotations

import numpy as np

from replay.requests import Floats
from replay.traces.shapes.traffic import Traffic
from replay.traces.synthesis import Load, LoadAt

_TIMES = 6.0
_RISE_SECONDS = 60.0


def load(traffic: Traffic) -> LoadAt:
    """A third into the time the rate rises sixfold within a minute.

    It then falls back exponentially, with a twelfth of the duration as its time constant.
    """
    start = traffic.duration_seconds / 3
    fall_seconds = traffic.duration_seconds / 12

    def load_at(seconds: Floats) -> Load:
        rise = np.clip((seconds - start) / _RISE_SECONDS, 0.0, 1.0)
        since_top = np.maximum(seconds - start - _RISE_SECONDS, 0.0)
        return traffic.at(1 + (_TIMES - 1) * rise * np.exp(-since_top / fall_seconds))

    return load_at
