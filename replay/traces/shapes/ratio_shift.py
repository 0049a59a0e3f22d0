"""Another mix of work at the same rate: the case for sizing both roles together."""

from __future__ import annotations

import numpy as np

from replay.requests import Floats
from replay.traces.shapes.traffic import Traffic
from replay.traces.synthesis import Load, LoadAt

_TIMES = 2.0
_SHIFT_SECONDS = 300.0


def load(traffic: Traffic) -> LoadAt:
    """Twice the input and half the output tokens, the reverse after five minutes in the middle."""
    start = (traffic.duration_seconds - _SHIFT_SECONDS) / 2

    def load_at(seconds: Floats) -> Load:
        shifted = np.clip((seconds - start) / _SHIFT_SECONDS, 0.0, 1.0)
        inputs = _TIMES ** (1 - 2 * shifted)
        return traffic.at(np.ones_like(seconds), inputs, 1 / inputs)

    return load_at
