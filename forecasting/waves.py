"""Waves of the detected cycles, by least squares."""

from __future__ import annotations

import numpy as np

from forecasting.curve import Fourier
from forecasting.log_scale import LogScale
from forecasting.seasonality import seasons
from forecasting.series import Series


def fitted_waves(series: Series, scale: LogScale, order: int) -> Fourier:
    """Fit a constant and `order` harmonics of each detected period to the known values."""
    periods = seasons(series)
    orders = tuple(order for _ in periods)
    columns = Fourier.columns(series.starts_seconds, periods, orders)
    known = ~np.isnan(series.values)
    weights = np.linalg.lstsq(columns[known], scale.up(series.values[known]), rcond=None)[0]
    return Fourier(periods, orders, np.asarray(weights))
