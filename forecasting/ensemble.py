"""Which models to trust now: those that have lately had the least loss on the decision target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.conformal import fading, raises
from forecasting.log_scale import LogScale
from forecasting.scoring import pinball
from forecasting.series import Floats

REFERENCE = "last_value"
NAIVE = (REFERENCE, "recent_peak", "seasonal_naive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """How the ensemble is put together."""

    margin_fraction: float = 0.01
    most_models: int = 3
    least_rows: int = 30
    half_life_rows: float = 500.0
    blend_steps: int = 8


CHOOSING = Choosing()


def choose(
    names: tuple[str, ...],
    centres: Floats,
    truths: Floats,
    fraction: float,
    choosing: Choosing,
) -> dict[str, float]:
    """Weights of the models to use, from resolved forecasts in time order.

    `centres` has shape (rows, names), NaN where a model did not take part. A model is used when it
    beats the naive ones by the margin, on the rows that all have. The best few are blended
    greedily (Caruana et al., "Ensemble Selection from Libraries of Models", 2004). Only the last
    value is left when nothing beats it, or while there are too few rows to tell.
    """
    rated = _Rated.of(names, centres, truths, fraction, choosing)
    if rated is None:
        return {REFERENCE: 1.0}
    losses = dict(zip(rated.names, rated.losses(rated.centres), strict=True))
    bar = losses[REFERENCE]
    for name in NAIVE:
        if name in losses:
            bar = min(bar, losses[name])
    keep = 1 - choosing.margin_fraction
    good = [n for n in losses if n not in NAIVE and losses[n] < keep * bar]
    good += [n for n in NAIVE[1:] if n in losses and losses[n] < keep * losses[REFERENCE]]
    if not good:
        return {REFERENCE: 1.0}
    best = sorted(good, key=losses.__getitem__)[: choosing.most_models]
    return rated.blend(best, choosing.blend_steps)


@dataclass(frozen=True, slots=True, eq=False)
class _Rated:
    """The rows and models that can be compared with each other, on the log scale."""

    names: tuple[str, ...]
    centres: Floats
    truths: Floats
    weights: Floats
    scale: LogScale
    fraction: float

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        centres: Floats,
        truths: Floats,
        fraction: float,
        choosing: Choosing,
    ) -> _Rated | None:
        present = ~np.isnan(centres)
        taking_part = present[-1:].any(axis=0) & (present.sum(axis=0) >= choosing.least_rows)
        if REFERENCE not in names or not taking_part[names.index(REFERENCE)]:
            return None
        rows = present[:, taking_part].all(axis=1)
        if rows.sum() < choosing.least_rows:
            return None
        scale = LogScale.of_errors(truths)
        return cls(
            names=tuple(name for name, taken in zip(names, taking_part, strict=True) if taken),
            centres=scale.up(centres[rows][:, taking_part]),
            truths=truths[rows],
            weights=fading(len(truths), choosing.half_life_rows)[rows],
            scale=scale,
            fraction=fraction,
        )

    def losses(self, centres: Floats) -> Floats:
        """Mean pinball loss of each column, once raised to the quantile."""
        scores = self.scale.up(self.truths)[:, None] - centres
        upper = self.scale.down(centres + raises(scores, self.weights, self.fraction))
        loss = pinball(self.truths[:, None], upper, self.fraction)
        return np.asarray(np.average(loss, axis=0, weights=self.weights))

    def blend(self, best: list[str], steps: int) -> dict[str, float]:
        """Add, step by step, the model that helps the mean most; stop when none does."""
        columns = self.centres[:, [self.names.index(name) for name in best]]
        counts = np.zeros(len(best))
        total, loss = np.zeros(len(self.truths)), np.inf
        for step in range(1, steps + 1):
            losses = self.losses((total[:, None] + columns) / step)
            chosen = int(np.argmin(losses))
            if losses[chosen] >= loss:
                break
            loss = float(losses[chosen])
            total = total + columns[:, chosen]
            counts[chosen] += 1
        shares = counts / counts.sum()
        return {name: float(share) for name, share in zip(best, shares, strict=True) if share > 0}
