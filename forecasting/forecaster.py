"""What every model is: something that can be fitted, then extended cheaply with new values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

import numpy as np

from forecasting.series import Floats, Series
from forecasting.target import Target


class Refusal(StrEnum):
    """Why a model does not take part."""

    TOO_SHORT = "too_short"
    NO_SEASON = "no_season"
    CONSTANT = "constant"
    NOT_INSTALLED = "not_installed"
    FAILED = "failed"
    NONSENSE = "nonsense"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True)
class CannotRun:
    """A model's refusal: an expected outcome, so a value and not an error."""

    reason: Refusal
    detail: str


class Fitted(Protocol):
    """A model that knows its parameters. Immutable."""

    def extend(self, values: Floats) -> Fitted:
        """Take in the next cells; NaN is a cell that passed unseen."""

    def path(self, steps: int) -> Floats:
        """Central forecast of the next cells, shape (steps,), in the units of the series."""


Outcome: TypeAlias = Fitted | CannotRun


class Forecaster(Protocol):
    """A family of models under one name."""

    @property
    def name(self) -> str:
        """The name in rows, weights and reports."""

    def fit(self, series: Series, target: Target) -> Outcome:
        """Fit to the whole series; the target says how far ahead it will be asked."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What came of fitting one model to values that end at `end_seconds`."""

    name: str
    end_seconds: float
    outcome: Outcome


def fit(forecaster: Forecaster, series: Series, target: Target) -> Fit:
    """Fit one model; a path that is not finite, or an exception of its own, is a refusal."""
    try:
        outcome = forecaster.fit(series, target)
        if not isinstance(outcome, CannotRun):
            sane_path(outcome, target.last_step)
    except ValueError as error:
        outcome = CannotRun(Refusal.NONSENSE, str(error))
    except Exception as error:  # noqa: BLE001 - a model from outside must not stop the others
        outcome = CannotRun(Refusal.FAILED, f"{type(error).__name__}: {error}")
    return Fit(forecaster.name, series.end_seconds, outcome)


def sane_path(model: Fitted, steps: int) -> Floats:
    """The model's path; ValueError when it has another shape or is not finite. Never negative."""
    path = np.asarray(model.path(steps), np.float64)
    if path.shape != (steps,) or not np.isfinite(path).all():
        raise ValueError(f"a path of shape {path.shape} for {steps} steps, or not finite")
    return np.maximum(path, 0.0)
