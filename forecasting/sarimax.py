"""ARMA errors around Fourier terms (statsmodels SARIMAX)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.estimation import enough, estimated
from forecasting.forecaster import Outcome
from forecasting.innovations import Innovations
from forecasting.log_scale import LogScale
from forecasting.series import Series
from forecasting.target import Target
from forecasting.waves import fitted_waves

_MOST_POINTS = 2880
_ORDER = 4
_ARMA = (2, 0, 1)


@dataclass(frozen=True, slots=True)
class Sarimax:
    """Waves of the detected cycles by least squares, then ARMA(2,1) errors by likelihood.

    The waves see the whole history, the errors its newest 2,880 values: the joint likelihood of a
    week at one minute takes 13 s, this one less than 2.
    """

    name: str = "sarimax"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Estimate both parts; without a cycle, ARMA errors around a constant."""
        del target
        return enough(series) or estimated(lambda: _fit(series))


def _fit(series: Series) -> Outcome:
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    scale = LogScale.of(series.values)
    recent = series.tail(_MOST_POINTS)
    curve = fitted_waves(series, scale, _ORDER)
    errors = scale.up(recent.values) - curve.at(recent.starts_seconds)
    model = SARIMAX(errors, order=_ARMA, trend="n")
    filtered = model.fit(disp=False, maxiter=100).filter_results
    seen = np.flatnonzero(~np.isnan(recent.values))
    return Innovations(
        scale=scale,
        curve=curve,
        transition=filtered.transition[:, :, -1].copy(),
        design=filtered.design[0, :, -1].copy(),
        gain=filtered.kalman_gain[:, 0, seen[-1]].copy(),
        state=filtered.predicted_state[:, -1].copy(),
        end_seconds=series.end_seconds,
        step_seconds=series.step_seconds,
    )
