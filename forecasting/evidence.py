"""How those that promise did against each other: pairwise, the last forecasts the most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Entry [i, j] of each square matrix holds candidate i against candidate j.

    `count` is of the forecasts that both made, `excess` the sum of the loss of i over that of j,
    `square` that of its square. All fade by `keep` with every forecast. The loss of a candidate is
    multiplied by its entry in `charges`.
    """

    charges: Floats
    keep: float
    count: Floats
    excess: Floats
    square: Floats

    @classmethod
    def none(cls, charges: Floats, half_life: float) -> Evidence:
        """Nothing known; a forecast will count half as much `half_life` forecasts later."""
        nothing = np.zeros((len(charges), len(charges)))
        return cls(charges, 0.5 ** (1 / half_life), nothing, nothing, nothing)

    def after(self, losses: Floats) -> Evidence:
        """Take in what one forecast cost each candidate; NaN for those that had no part in it."""
        charged = losses * self.charges
        excess = charged[:, None] - charged
        known = ~np.isnan(excess)
        excess[~known] = 0.0
        return Evidence(
            charges=self.charges,
            keep=self.keep,
            count=self.keep * self.count + known,
            excess=self.keep * self.excess + excess,
            square=self.keep * self.square + excess * excess,
        )

    def carried_into(self, other: Evidence, places: NDArray[np.int64]) -> Evidence:
        """`other` with what is known here; `places` says where its candidates stand here, or -1."""
        known = places >= 0
        both = np.ix_(known, known)
        here = np.ix_(places[known], places[known])

        def carried(old: Floats, new: Floats) -> Floats:
            joined = new.copy()
            joined[both] = old[here]
            return joined

        return replace(
            other,
            count=carried(self.count, other.count),
            excess=carried(self.excess, other.excess),
            square=carried(self.square, other.square),
        )

    @property
    def matrices(self) -> tuple[Floats, Floats, Floats]:
        """What is known, to be kept through a restart."""
        return self.count, self.excess, self.square

    def holding(self, count: Floats, excess: Floats, square: Floats) -> Evidence:
        """The same candidates with matrices that were kept; ValueError when there are others."""
        shape = self.count.shape
        return replace(
            self,
            count=count.reshape(shape),
            excess=excess.reshape(shape),
            square=square.reshape(shape),
        )

    def forecasts(self) -> list[float]:
        """How many forecasts of each candidate have met their truth, the older ones faded."""
        return list(self.count.diagonal().tolist())

    def above(self, base: int) -> list[float]:
        """Mean loss above that of candidate `base`, on the forecasts that both made."""
        both = zip(self.excess[:, base].tolist(), self.count[:, base].tolist(), strict=True)
        return [excess / count if count > 0 else 0.0 for excess, count in both]

    def errors_above(self, base: int, overlap: int) -> list[float]:
        """By how many standard errors the mean loss lies above that of candidate `base`.

        Errors of forecasts that overlap are neither independent (each counts) nor one (count /
        overlap); the number that counts is taken between the two.
        """
        both = zip(self.excess[:, base].tolist(), self.square[:, base].tolist(), strict=True)
        wider = overlap**0.5
        return [excess / math.sqrt(s * wider) if s > 0 else 0.0 for excess, s in both]

    def leader(self, base: int, among: Sequence[bool]) -> int:
        """The candidate with the least mean loss, each compared with `base`."""
        above = self.above(base)
        return min((i for i, one in enumerate(among) if one), key=above.__getitem__)
