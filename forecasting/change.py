"""Has the load left the path that was foreseen? A two-sided cumulative sum of surprises."""

from __future__ import annotations

import math
from dataclasses import dataclass

_ALLOWANCE = 1.0
_ALARM = 14.0
_LARGEST_SURPRISE = 6.0
_MEMORY_CELLS = 100
_LEAST_CELLS = 20


@dataclass(frozen=True, slots=True)
class ChangeWatch:
    """Page's CUSUM over one-step errors in units of their usual size.

    An error counts at most six times its usual size, so one wild cell is no change: it takes three
    in a row, or more of smaller ones, in the same direction. It counts as far as it is larger than
    that of the last value: where the newest value is as wrong, there is nothing to fall back on.
    """

    usual_error: float = 0.0
    cells: int = 0
    above: float = 0.0
    below: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether the newest error raised the alarm."""
        return max(self.above, self.below) > _ALARM

    def after(self, error: float, naive_error: float) -> ChangeWatch:
        """Take in one-step errors on the log scale, of the forecast and of the last value.

        NaN changes nothing. An alarm starts anew.
        """
        if math.isnan(error) or math.isnan(naive_error):
            return self
        size = abs(error)
        ready = self.cells >= _LEAST_CELLS and self.usual_error > 0
        if ready:
            size = min(size, _LARGEST_SURPRISE * self.usual_error)
        cells = self.cells + 1
        usual = self.usual_error + (size - self.usual_error) / min(cells, _MEMORY_CELLS)
        if not ready:
            return ChangeWatch(usual, cells)
        surprise = math.copysign(max(size - abs(naive_error), 0.0), error) / self.usual_error
        past = UNWATCHED if self.changed else self
        above = max(past.above + surprise - _ALLOWANCE, 0.0)
        below = max(past.below - surprise - _ALLOWANCE, 0.0)
        return ChangeWatch(usual, cells, above, below)


UNWATCHED = ChangeWatch()
