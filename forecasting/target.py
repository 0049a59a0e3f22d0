"""The quantity that a decision needs: the peak once a replica asked for now can serve."""

from __future__ import annotations

import math
from dataclasses import dataclass

from forecasting.series import Floats


@dataclass(frozen=True, slots=True)
class Target:
    """The largest value over [now + lead, now + lead + hold], in cells after the newest one.

    Cell k after now covers (now + (k-1) step, now + k step]. A lead of 120 s and a hold of 300 s
    on a grid of 60 s are cells 2 to 7.
    """

    first_step: int
    last_step: int

    def __post_init__(self) -> None:
        if not 1 <= self.first_step <= self.last_step:
            raise ValueError(f"a target over steps {self.first_step} to {self.last_step}")

    @classmethod
    def of(cls, lead_seconds: float, hold_seconds: float, step_seconds: float) -> Target:
        """Cells that the window touches; at least the next one."""
        first = max(math.ceil(lead_seconds / step_seconds), 1)
        return cls(first, max(math.ceil((lead_seconds + hold_seconds) / step_seconds), first))

    @property
    def steps(self) -> int:
        """Number of cells in the window."""
        return self.last_step - self.first_step + 1

    def peak(self, path: Floats) -> float:
        """Largest value of a path (its first entry is step 1) within the window."""
        return float(max(path[self.first_step - 1 : self.last_step].tolist()))

    def truth(self, values: Floats, origin: int) -> float:
        """What came after cell `origin`; NaN when less than half of the window is known."""
        window = values[max(origin + self.first_step, 0) : origin + self.last_step + 1].tolist()
        known = [value for value in window if not math.isnan(value)]
        return float(max(known)) if 2 * len(known) >= self.steps else math.nan
