"""Reactive estimates: what the last minutes alone say about the next ones."""

from __future__ import annotations

import numpy as np

from forecasting.series import Floats


def recent_peak(
    seconds: Floats, values: Floats, now_seconds: float, window_seconds: float
) -> float:
    """Largest value within the window that ends now; NaN when nothing is known in it.

    With start-up times of two minutes this is hard to beat: the demand that will be there when a
    replica is ready is rarely above the highest demand since a replica asked for then was ready.
    """
    recent = _recent(seconds, values, now_seconds, window_seconds)
    return float(recent.max()) if recent.size else float("nan")


def recent_mean(
    seconds: Floats, values: Floats, now_seconds: float, window_seconds: float
) -> float:
    """Mean value within the window that ends now; NaN when nothing is known in it."""
    recent = _recent(seconds, values, now_seconds, window_seconds)
    return float(recent.mean()) if recent.size else float("nan")


def _recent(seconds: Floats, values: Floats, now_seconds: float, window_seconds: float) -> Floats:
    inside = (seconds > now_seconds - window_seconds) & (seconds <= now_seconds)
    recent = values[inside]
    return recent[~np.isnan(recent)]
