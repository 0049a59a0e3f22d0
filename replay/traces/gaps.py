"""Windows in which a rate is unknown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stand_ins(missing: NDArray[np.bool_], per_day: int) -> NDArray[np.int64]:
    """For every window, the window whose data to use: its own, or for a missing one another's.

    That is the same time on the nearest day that has data (the earlier of two as near), else the
    nearest window with data. At least one window must have data.
    """
    known = np.flatnonzero(~missing)
    rows = np.arange(len(missing), dtype=np.int64)
    for window in np.flatnonzero(missing):
        same_time = known[(known - window) % max(per_day, 1) == 0]
        candidates = same_time if len(same_time) else known
        rows[window] = candidates[np.argmin(np.abs(candidates - window))]
    return rows
