"""Exponential smoothing with a damped additive trend (statsmodels ETSModel)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.curve import Flat
from forecasting.estimation import enough, estimated
from forecasting.forecaster import Outcome
from forecasting.innovations import Innovations
from forecasting.log_scale import LogScale
from forecasting.series import Series, filled
from forecasting.target import Target

_MOST_POINTS = 10_080


@dataclass(frozen=True, slots=True)
class Ets:
    """ETS(A, Ad, N) on the log scale."""

    name: str = "ets"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Estimate the smoothing of level and trend, and the damping, by maximum likelihood."""
        del target
        recent = series.tail(_MOST_POINTS)
        return enough(recent) or estimated(lambda: _fit(recent))


def _fit(series: Series) -> Outcome:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    scale = LogScale.of(series.values)
    model = ETSModel(filled(scale.up(series.values)), error="add", trend="add", damped_trend=True)
    result = model.fit(disp=False, maxiter=200)
    damping = float(result.damping_trend)
    return Innovations(
        scale=scale,
        curve=Flat(),
        transition=np.array([[1.0, damping], [0.0, damping]]),
        design=np.array([1.0, damping]),
        gain=np.array([float(result.smoothing_level), float(result.smoothing_trend)]),
        state=np.array([float(result.level[-1]), float(result.slope[-1])]),
        end_seconds=series.end_seconds,
        step_seconds=series.step_seconds,
    )
