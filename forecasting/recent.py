"""Averages over the recent past."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from forecasting.series import Floats


def trailing_mean(seconds: Floats, values: Floats, window_seconds: float) -> Floats:
    """Mean over the window that ends at each sample; unknown (NaN) samples are left out.

    `seconds` ascends. A window that reaches back before the first sample is shorter, not padded.
    One of no length holds its own sample alone.
    """
    if window_seconds <= 0.0:
        return values
    known = ~np.isnan(values)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    counts = np.concatenate(([0], np.cumsum(known)))
    first = np.searchsorted(seconds, seconds - window_seconds, side="right")
    last = np.arange(1, len(seconds) + 1)
    first = np.minimum(first, last - 1)  # a sample is always inside its own window
    inside = counts[last] - counts[first]
    means = np.full(len(seconds), np.nan)
    np.divide(sums[last] - sums[first], inside, out=means, where=inside > 0)
    return means


def trailing_means(
    seconds: Sequence[float], values: Sequence[float], window_seconds: float, oldest: int = 0
) -> Sequence[float]:
    """The same of a few dozen known samples, in plain floats, from the sample `oldest` on."""
    if window_seconds <= 0.0:
        return values[oldest:]
    sums = (0.0, *accumulate(values))
    means, first = [], 0
    for last in range(oldest + 1, len(seconds) + 1):
        after = seconds[last - 1] - window_seconds
        # A sample is always inside its own window, however short that is.
        while first < last - 1 and seconds[first] <= after:
            first += 1
        means.append((sums[last] - sums[first]) / (last - first))
    return means
