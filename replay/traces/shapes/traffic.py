"""What all shapes vary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from replay.requests import Floats
from replay.traces.synthesis import Load

HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The level of a shape: `requests_per_second` at its ordinary peak, and mean lengths.

    Bursts and crowds go above the ordinary peak.
    """

    requests_per_second: float
    input_tokens: float
    output_tokens: float
    duration_seconds: float
    seed: int = 0

    def at(self, rate: Floats, inputs: float | Floats = 1.0, outputs: float | Floats = 1.0) -> Load:
        """The load where rate and mean lengths are these multiples of the level."""
        one = np.ones_like(rate)
        return Load(
            self.requests_per_second * rate,
            self.input_tokens * inputs * one,
            self.output_tokens * outputs * one,
        )
