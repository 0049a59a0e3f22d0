"""Which models to trust now: those that have lately had the least loss on the decision target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.conformal import fading
from forecasting.ledger import Ledger
from forecasting.log_scale import LogScale
from forecasting.scoring import pinball
from forecasting.series import Bools, Floats

REFERENCE = "last_value"
UNFITTED = frozenset({REFERENCE, "recent_peak"})
NAIVE = UNFITTED | {"seasonal_naive"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """How the ensemble is put together: from the newest `rows` of evidence, the last the most.

    `least_weight` is of the leader's.
    """

    margin_fraction: float = 0.01
    most_models: int = 3
    least_rows: int = 4
    rows: int = 360
    half_life_rows: float = 200.0
    sharpness: float = 2.0
    least_weight: float = 0.02


CHOOSING = Choosing()


def choose(
    ledger: Ledger,
    taking_part: Bools,
    fraction: float,
    overlap: int,
    scale: LogScale,
    choosing: Choosing = CHOOSING,
) -> dict[str, float]:
    """Weights of the models to use, from the ledger's resolved forecasts.

    `taking_part` says which models forecast now. A model weighs exp(-2 z) of the leader, where z is
    the number of standard errors by which its mean loss lies above the leader's on the rows that
    both have: as long as little is known all weigh about the same, and a model that is clearly
    worse soon weighs nothing (two standard errors are 2%). A model that is not naive is charged the
    margin, and while one that needs no fit leads nevertheless, no other is used. Within `overlap`
    cells, neighbours share most of their truth.
    """
    names, rows = ledger.names, slice(-choosing.rows, None)
    losses = _losses(ledger.centres[rows], ledger.truths[rows], fraction, scale)
    known = ~np.isnan(losses)
    fit = taking_part & (known.sum(axis=1) >= choosing.least_rows)
    if REFERENCE not in names or not fit[names.index(REFERENCE)]:
        return {REFERENCE: 1.0}
    naive = np.array([name in NAIVE for name in names])
    losses[~naive] *= 1 + choosing.margin_fraction
    age = fading(losses.shape[1], choosing.half_life_rows)
    above, _ = _excess(losses, losses[names.index(REFERENCE)], age, overlap)
    leader = int(np.argmin(np.where(fit, above, np.inf)))
    if names[leader] in UNFITTED:
        fit &= np.array([name in UNFITTED for name in names])
    _, errors = _excess(losses, losses[leader], age, overlap)
    weights = np.where(fit, np.exp(-choosing.sharpness * errors), 0.0)
    best = np.argsort(-weights, kind="stable")[: choosing.most_models]
    best = best[weights[best] >= choosing.least_weight]
    shares = weights[best] / weights[best].sum()
    return {names[i]: share for i, share in zip(best, shares.tolist(), strict=True)}


def _losses(centres: Floats, truths: Floats, fraction: float, scale: LogScale) -> Floats:
    """Pinball loss of each model, once raised to the quantile of its own errors; (names, rows)."""
    logs = scale.up(centres.T)
    errors = scale.up(truths) - logs
    known = (~np.isnan(errors)).sum(axis=1)
    place = np.minimum(np.ceil(fraction * (known + 1)).astype(np.int64), known) - 1
    raised = np.sort(errors, axis=1)[np.arange(len(errors)), place]  # NaN comes last
    return pinball(truths, scale.down(logs + raised[:, None]), fraction)


def _excess(losses: Floats, base: Floats, age: Floats, overlap: int) -> tuple[Floats, Floats]:
    """Mean loss above that of `base`, as it is and in standard errors.

    Errors of forecasts that overlap are neither independent (rows) nor one (rows / overlap); the
    number of rows that counts is taken between the two.
    """
    excess = losses - base
    both = ~np.isnan(excess)
    excess[~both] = 0.0
    count = np.maximum(both @ age, 1e-9)
    mean, square = excess @ age / count, (excess * excess) @ age / count
    error = np.sqrt(square * np.sqrt(overlap) / count)
    return mean, np.divide(mean, error, out=np.zeros(len(mean)), where=error > 0)
