"""How those that promise did against each other: pairwise, the last forecasts the most.

Small lasting differences take hundreds of forecasts to tell; when a model has changed (a refit that
first sees the week), what it did before says nothing. So evidence is kept twice, fading quickly and
slowly, and the slow counts as far as the quick bears it out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecasting.series import Floats

RECENT, LASTING = range(2)
Sums = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Entry [pool, i, j] of each array holds candidate i against candidate j.

    `count` is of the forecasts that both made, `excess` the sum of the loss of i over that of j,
    `square` that of its square. All fade by `keeps` with every forecast, in the pool `RECENT`
    quickly, in `LASTING` slowly. The loss of a candidate is multiplied by its entry in `charges`.

    Errors of forecasts that overlap are neither independent (each counts) nor one (count /
    overlap); the number that counts is taken between the two, count / `shared`.
    """

    charges: Floats
    keeps: Floats
    shared: float
    count: Floats
    excess: Floats
    square: Floats

    @classmethod
    def none(cls, charges: Floats, half_lives: tuple[float, float], overlap: int = 1) -> Evidence:
        """Nothing known; in each pool a forecast will count half as much a half-life later.

        Half-lives are in forecasts; where they overlap, it takes the root of the overlap as many
        more.
        """
        shared = overlap**0.5
        keeps = 0.5 ** (1 / (shared * np.array(half_lives)))
        nothing = np.zeros((len(half_lives), len(charges), len(charges)))
        return cls(charges, keeps[:, None, None], shared, nothing, nothing, nothing)

    def after(self, losses: Floats) -> Evidence:
        """Take in what one forecast cost each candidate; NaN for those that had no part in it."""
        charged = losses * self.charges
        excess = charged[:, None] - charged
        known = ~np.isnan(excess)
        excess[~known] = 0.0
        return Evidence(
            charges=self.charges,
            keeps=self.keeps,
            shared=self.shared,
            count=self.keeps * self.count + known,
            excess=self.keeps * self.excess + excess,
            square=self.keeps * self.square + excess * excess,
        )

    def carried_into(self, other: Evidence, places: NDArray[np.int64]) -> Evidence:
        """`other` with what is known here; `places` says where its candidates stand here, or -1."""
        known = np.flatnonzero(places >= 0)
        pools = np.arange(len(self.count))
        both = np.ix_(pools, known, known)
        here = np.ix_(pools, places[known], places[known])

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
        return list(self.count[RECENT].diagonal().tolist())

    def above(self, base: int) -> list[float]:
        """Mean loss above that of candidate `base`, on the forecasts that both made."""
        return [excess / count if count > 0 else 0.0 for count, excess, _ in self._pooled(base)]

    def errors_above(self, base: int) -> list[float]:
        """By how many standard errors the mean loss lies above that of candidate `base`."""
        return [
            excess / math.sqrt(square * self.shared) if square > 0 else 0.0
            for _, excess, square in self._pooled(base)
        ]

    def leader(self, base: int, among: Sequence[bool]) -> int:
        """The candidate with the least mean loss, each compared with `base`."""
        above = self.above(base)
        return min((i for i, one in enumerate(among) if one), key=above.__getitem__)

    def _pooled(self, base: int) -> list[Sums]:
        """Count, excess and square of each candidate against `base`, from both pools.

        The lasting pool has the share exp(-z^2 / 2), where z is by how many standard errors of the
        recent mean the two means differ: 0.88 at half a standard error, 0.01 at three.
        """
        against = [one[:, :, base].tolist() for one in (self.count, self.excess, self.square)]
        recent, lasting = (list(zip(*pool, strict=True)) for pool in zip(*against, strict=True))
        pairs = zip(recent, lasting, strict=True)
        return [_mixed(new, old, self.shared) for new, old in pairs]


def _mixed(recent: Sums, lasting: Sums, shared: float) -> Sums:
    """Sums of one pair in both pools, the lasting ones as far as the recent bear them out."""
    (count, excess, square), (old_count, old_excess, old_square) = recent, lasting
    if square <= 0:
        return recent
    apart = excess - count * old_excess / old_count
    share = math.exp(-apart * apart / (2 * square * shared))
    return (
        count + share * (old_count - count),
        excess + share * (old_excess - excess),
        square + share * (old_square - square),
    )
