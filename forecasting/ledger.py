"""Forecasts made and what came of them: the evidence for choosing and calibrating."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from forecasting.series import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Forecasts of one target, made when cell number `cell` was the newest.

    `centres` has one entry per model, NaN for those that did not take part. `upper` is what the
    ensemble promised; NaN while it promised nothing.
    """

    cell: int
    centres: Floats
    upper: float


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """Resolved forecasts in time order, and those whose truth is still to come."""

    names: tuple[str, ...]
    centres: Floats
    truths: Floats
    open: tuple[Origin, ...] = field(default=())

    @classmethod
    def empty(cls, names: tuple[str, ...]) -> Ledger:
        """Nothing forecast yet."""
        return cls(names, np.zeros((0, len(names))), np.zeros(0))

    def named(self, names: tuple[str, ...]) -> Ledger:
        """The same evidence for other models; those that are new took no part so far."""
        if names == self.names:
            return self
        columns = [self.names.index(name) if name in self.names else -1 for name in names]

        def picked(centres: Floats) -> Floats:
            """Take the columns; -1 finds the NaN appended at the end."""
            unknown = np.full((*centres.shape[:-1], 1), np.nan)
            return np.concatenate((centres, unknown), axis=-1)[..., columns]

        return Ledger(
            names,
            picked(self.centres),
            self.truths,
            tuple(replace(origin, centres=picked(origin.centres)) for origin in self.open),
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
        known = [(o.centres, truth) for o, truth in pairs if not math.isnan(truth)]
        rest = self.open[len(due) :]
        if not known:
            return replace(self, open=rest)
        return replace(
            self,
            centres=np.vstack((self.centres, *(centres for centres, _ in known)))[-limit:],
            truths=np.append(self.truths, [truth for _, truth in known])[-limit:],
            open=rest,
        )
