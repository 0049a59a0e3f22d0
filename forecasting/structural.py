"""Unobserved components: a level that walks under fixed waves (statsmodels)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.curve import Flat
from forecasting.estimation import enough, estimated
from forecasting.forecaster import Outcome
from forecasting.innovations import Innovations
from forecasting.log_scale import LogScale
from forecasting.seasonality import seasons
from forecasting.series import Series
from forecasting.target import Target

_MOST_POINTS = 2880
_HARMONICS = 4


@dataclass(frozen=True, slots=True)
class Structural:
    """Local level plus trigonometric seasons, as a filter with its last gain."""

    name: str = "structural"

    def fit(self, series: Series, target: Target) -> Outcome:
        """Estimate the variances; seasons of less than two cycles in the used values are left out.

        The waves are part of the state, so they go on adapting slowly after the fit.
        """
        del target
        recent = series.tail(_MOST_POINTS)
        return enough(recent) or estimated(lambda: _fit(recent))


def _fit(series: Series) -> Outcome:
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    scale = LogScale.of(series.values)
    waves = [
        {"period": period / series.step_seconds, "harmonics": _HARMONICS}
        for period in seasons(series)
    ]
    model = UnobservedComponents(
        scale.up(series.values),
        "llevel",
        freq_seasonal=waves or None,
        stochastic_freq_seasonal=[False] * len(waves) if waves else None,
    )
    filtered = model.fit(disp=False, maxiter=100).filter_results
    seen = np.flatnonzero(~np.isnan(series.values))
    return Innovations(
        scale=scale,
        curve=Flat(),
        transition=filtered.transition[:, :, -1].copy(),
        design=filtered.design[0, :, -1].copy(),
        gain=filtered.kalman_gain[:, 0, seen[-1]].copy(),
        state=filtered.predicted_state[:, -1].copy(),
        end_seconds=series.end_seconds,
        step_seconds=series.step_seconds,
    )
