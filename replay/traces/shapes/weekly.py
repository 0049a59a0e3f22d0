"""Working days and weekends."""

from __future__ import annotations

import numpy as np

from replay.requests import Floats
from replay.traces.shapes.diurnal import share_of_peak
from replay.traces.shapes.traffic import DAY_SECONDS, Traffic
from replay.traces.synthesis import Load, LoadAt

_WEEKEND_FRACTION = 0.4


def load(traffic: Traffic) -> LoadAt:
    """The diurnal shape, at 40% on the last two of every seven days; time 0 is Monday, midnight."""

    def load_at(seconds: Floats) -> Load:
        weekend = (seconds // DAY_SECONDS) % 7 >= 5
        return traffic.at(share_of_peak(seconds) * np.where(weekend, _WEEKEND_FRACTION, 1.0))

    return load_at
