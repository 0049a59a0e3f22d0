"""How good quantile forecasts are."""

from __future__ import annotations

import numpy as np

from forecasting.series import Floats


def pinball(truth: Floats | float, upper: Floats, fraction: float) -> Floats:
    """Loss of a quantile forecast, one per value: shortage x fraction + surplus x the rest."""
    short = truth - upper
    return np.asarray(np.maximum(fraction * short, (fraction - 1) * short))


def coverage(truth: Floats, upper: Floats) -> float:
    """Share of values at or below their upper quantile."""
    return float((truth <= upper).mean())


def mase(truth: Floats, centre: Floats, values: Floats) -> float:
    """Mean absolute error over that of the one-step naive forecast of the series itself.

    Hyndman and Koehler, "Another look at measures of forecast accuracy", 2006. NaN for a series
    that never changes.
    """
    steps = np.abs(np.diff(values))
    naive = float(np.nanmean(steps)) if np.isfinite(steps).any() else 0.0
    return float(np.abs(truth - centre).mean()) / naive if naive > 0 else float("nan")


def width(truth: Floats, upper: Floats) -> float:
    """Mean upper quantile over mean truth, minus 1: what covering costs in surplus."""
    mean = float(truth.mean())
    return float(upper.mean()) / mean - 1 if mean > 0 else float("nan")
