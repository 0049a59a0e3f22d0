"""Forecasts made and what came of them: the evidence for choosing and calibrating."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from forecasting.conformal import CALIBRATIONS, QUICK, SLOW_RATE, Adaptive
from forecasting.ensemble import CHOOSING, Choosing, unproven
from forecasting.evidence import Evidence
from forecasting.scoring import pinball
from forecasting.series import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Forecasts of one target, made when cell number `cell` was the newest.

    `centres` has one entry per model, NaN for those that did not take part. `uppers`, of shape
    (calibrations, models), is what each would have promised alone, and `upper` what the ensemble
    promised; NaN while nothing was promised.
    """

    cell: int
    centres: Floats
    uppers: Floats
    upper: float


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """Resolved forecasts in time order, what they say, and those whose truth is still to come.

    `quick` has one level per model, `slow` one for all.
    """

    names: tuple[str, ...]
    centres: Floats
    truths: Floats
    quick: Adaptive
    slow: Adaptive
    evidence: Evidence
    open: tuple[Origin, ...] = field(default=())

    @property
    def levels(self) -> Floats:
        """The quantiles of past scores to raise by now, shape (calibrations, models)."""
        return np.array([self.quick.levels, self.slow.levels * len(self.names)])

    @classmethod
    def empty(
        cls, names: tuple[str, ...], fraction: float, overlap: int, choosing: Choosing = CHOOSING
    ) -> Ledger:
        """Nothing forecast yet; the targets of `overlap` forecasts in a row share a cell."""
        return cls(
            names,
            np.zeros((0, len(names))),
            np.zeros(0),
            Adaptive.covering(fraction, len(names)),
            Adaptive.covering(fraction, rate=SLOW_RATE / overlap),
            unproven(names, overlap, choosing),
        )

    def carried_into(self, other: Ledger) -> Ledger:
        """The same evidence for the models of an empty ledger; the new ones took no part so far."""
        if other.names == self.names:
            return self
        columns = [self.names.index(name) if name in self.names else -1 for name in other.names]

        def picked(values: Floats, new: float = np.nan) -> Floats:
            """Take the columns; -1 finds the value appended at the end."""
            unknown = np.full((*values.shape[:-1], 1), new)
            return np.concatenate((values, unknown), axis=-1)[..., columns]

        asked = self.quick.asked_fraction
        misses = picked(np.array(self.quick.miss_fractions), asked)
        candidates = np.arange(CALIBRATIONS * len(self.names), dtype=np.float64)
        places = picked(candidates.reshape(CALIBRATIONS, -1), -1.0).astype(np.int64).ravel()
        return Ledger(
            other.names,
            picked(self.centres),
            self.truths,
            replace(self.quick, miss_fractions=tuple(misses.tolist())),
            self.slow,
            self.evidence.carried_into(other.evidence, places),
            tuple(
                replace(origin, centres=picked(origin.centres), uppers=picked(origin.uppers))
                for origin in self.open
            ),
        )

    def with_open(self, origin: Origin) -> Ledger:
        """Remember a forecast until its truth comes."""
        return replace(self, open=(*self.open, origin))

    def due(self, cell: int) -> tuple[Origin, ...]:
        """Forecasts whose window has passed once this cell is the newest; `cell` is inclusive."""
        return tuple(origin for origin in self.open if origin.cell <= cell)

    def resolved(self, due: tuple[Origin, ...], truths: list[float], limit: int) -> Ledger:
        """Move forecasts to the evidence, keeping the newest rows; an unknown truth drops one."""
        pairs = zip(due, truths, strict=True)
        known = [(origin, truth) for origin, truth in pairs if not math.isnan(truth)]
        rest = self.open[len(due) :]
        if not known:
            return replace(self, open=rest)
        quick, slow, evidence = self.quick, self.slow, self.evidence
        for origin, truth in known:
            losses = pinball(truth, origin.uppers, 1 - quick.asked_fraction)
            losses[:, np.isnan(origin.centres)] = np.nan
            evidence = evidence.after(losses.ravel())
            quick = quick.after(truth, origin.uppers[QUICK].tolist())
            slow = slow.after(truth, (origin.upper,))
        return replace(
            self,
            centres=np.concatenate((self.centres, [one.centres for one, _ in known]))[-limit:],
            truths=np.concatenate((self.truths, [truth for _, truth in known]))[-limit:],
            quick=quick,
            slow=slow,
            evidence=evidence,
            open=rest,
        )
