"""A mean over the last minutes, which begins at a prior and forgets it."""

from __future__ import annotations

import math
from dataclasses import dataclass

# How long a sample counts.
_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Average:
    """A mean over ten minutes; the prior it starts at counts as one sample."""

    mean: float
    samples: int = 0

    def plus(self, seen: float | None, elapsed_seconds: float) -> Average:
        """Average in a value that stands for `elapsed_seconds`; None changes nothing."""
        if seen is None:
            return self
        weight = max(1.0 - math.exp(-elapsed_seconds / _SECONDS), 1.0 / (self.samples + 2))
        return Average(self.mean + weight * (seen - self.mean), self.samples + 1)
