"""What a forecast says, and how it came about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Mode(StrEnum):
    """How much the forecast rests on."""

    NO_DATA = "no_data"
    WARMING_UP = "warming_up"
    REACTIVE = "reactive"
    ENSEMBLE = "ensemble"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The quantile of the target to size for, and its reasons.

    `upper` is None when there is nothing to say it from. `centre` is the blend's central forecast
    of the target and `path` that of each cell up to the target's last one.
    """

    upper: float | None
    centre: float | None
    mode: Mode
    why: str
    weights: Mapping[str, float] = field(default_factory=dict)
    path: tuple[float, ...] = ()

    @property
    def promised(self) -> float:
        """What is held against the truth later; NaN while nothing was promised."""
        return math.nan if self.upper is None or self.mode is Mode.WARMING_UP else self.upper

    @classmethod
    def nothing(cls, why: str) -> Forecast:
        """No forecast, and why."""
        return cls(upper=None, centre=None, mode=Mode.NO_DATA, why=why)
