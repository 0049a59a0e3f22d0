"""Which promises to trust now: of the models that have lately had the least loss, as calibrated.

A candidate is a model under one of two calibrations (`conformal.py`). To aggregate conformal
forecasters of several rates by their pinball loss is Zaffran et al., "Adaptive Conformal
Predictions for Time Series", 2022.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from forecasting.conformal import CALIBRATIONS
from forecasting.evidence import Evidence
from forecasting.series import Bools, Floats

REFERENCE = "last_value"
UNFITTED = frozenset({REFERENCE, "recent_peak"})
NAIVE = UNFITTED | {"seasonal_naive"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choosing:
    """How the ensemble is put together; `least_weight` is of the leader's.

    In the recent and in the lasting evidence a forecast counts half as much `half_lives` later ones
    (`evidence.py`).
    """

    margin_fraction: float = 0.01
    most_candidates: int = 6
    least_forecasts: float = 3.5
    half_lives: tuple[float, float] = (20.0, 120.0)
    sharpness: float = 2.0
    least_weight: float = 0.02


CHOOSING = Choosing()


def unproven(names: tuple[str, ...], overlap: int, choosing: Choosing = CHOOSING) -> Evidence:
    """Candidates of which nothing is known yet, in the order of `choose`.

    Models that are not naive are charged the margin.
    """
    charges = [1.0 if name in NAIVE else 1 + choosing.margin_fraction for name in names]
    return Evidence.none(np.tile(np.array(charges), CALIBRATIONS), choosing.half_lives, overlap)


def choose(
    evidence: Evidence,
    names: tuple[str, ...],
    taking_part: Bools,
    choosing: Choosing = CHOOSING,
) -> Floats:
    """Shares of the candidates to use, shape (calibrations, models).

    `taking_part` says which models forecast now. A candidate weighs exp(-2 z) of the leader, where
    z is the number of standard errors by which its mean loss lies above the leader's: as long as
    little is known all weigh about the same, and one that is clearly worse soon weighs nothing (two
    standard errors are 2%). While a model that needs no fit leads, no other is used.
    """
    reference, shares = names.index(REFERENCE), np.zeros(CALIBRATIONS * len(names))
    fit = [
        part and count >= choosing.least_forecasts
        for part, count in zip(
            taking_part.tolist() * CALIBRATIONS, evidence.forecasts(), strict=True
        )
    ]
    if not fit[reference]:
        shares[reference] = 1.0
        return shares.reshape(CALIBRATIONS, -1)
    leader = evidence.leader(reference, fit)
    if names[leader % len(names)] in UNFITTED:
        fit = [one and names[i % len(names)] in UNFITTED for i, one in enumerate(fit)]
    errors = evidence.errors_above(leader)
    weighed = [
        (math.exp(-choosing.sharpness * error), i)
        for i, (one, error) in enumerate(zip(fit, errors, strict=True))
        if one
    ]
    weighed.sort(key=lambda one: -one[0])
    best = [one for one in weighed[: choosing.most_candidates] if one[0] >= choosing.least_weight]
    total = sum([weight for weight, _ in best])
    for weight, i in best:
        shares[i] = weight / total
    return shares.reshape(CALIBRATIONS, -1)
