"""Sudden changes to levels that last."""

from __future__ import annotations

import numpy as np

from replay.requests import Floats
from replay.traces.shapes.traffic import Traffic
from replay.traces.synthesis import Load, LoadAt

_LEVELS = np.array([0.25, 0.5, 1.0, 0.4, 0.8, 0.2])


def load(traffic: Traffic) -> LoadAt:
    """Six levels of equal length, up and down."""

    def load_at(seconds: Floats) -> Load:
        place = (seconds / traffic.duration_seconds * len(_LEVELS)).astype(np.int64)
        return traffic.at(_LEVELS[np.clip(place, 0, len(_LEVELS) - 1)])

    return load_at
