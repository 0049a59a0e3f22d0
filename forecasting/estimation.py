"""Fitting with statsmodels and others: quiet, and a failure is a refusal."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from forecasting.forecaster import CannotRun, Outcome, Refusal
from forecasting.series import Series

LEAST_POINTS = 24


def enough(series: Series, points: int = LEAST_POINTS) -> CannotRun | None:
    """Refuse a series that is too short or does not vary; None when it will do."""
    known = series.values[~np.isnan(series.values)]
    if len(known) < points:
        return CannotRun(Refusal.TOO_SHORT, f"{len(known)} known values; it takes {points}")
    if float(known.std()) <= 1e-9 * max(float(known.max()), 1e-300):
        return CannotRun(Refusal.CONSTANT, "the series does not vary")
    return None


def estimated(fit: Callable[[], Outcome]) -> Outcome:
    """Run a library's estimation; whatever it raises becomes a refusal that quotes it.

    A solver may fail in any way on odd data, and the other models must go on.
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return fit()
        except ImportError as error:
            return CannotRun(Refusal.NOT_INSTALLED, str(error))
        except Exception as error:  # noqa: BLE001 - see the docstring
            return CannotRun(Refusal.FAILED, f"{type(error).__name__}: {error}")
