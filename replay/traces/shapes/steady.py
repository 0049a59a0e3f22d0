"""One rate."""

from __future__ import annotations

import numpy as np

from replay.traces.shapes.traffic import Traffic
from replay.traces.synthesis import LoadAt


def load(traffic: Traffic) -> LoadAt:
    """The level throughout."""
    return lambda seconds: traffic.at(np.ones_like(seconds))
