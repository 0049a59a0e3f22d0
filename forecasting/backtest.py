"""The live procedure run over a recorded series, cell by cell, and scored. Nothing looks ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from forecasting.conformal import Adaptive, fading, raised
from forecasting.ensemble import REFERENCE
from forecasting.forecaster import Fit
from forecasting.log_scale import LogScale
from forecasting.scoring import coverage, mase, pinball, width
from forecasting.series import Floats, Series
from forecasting.tracker import Tracker, TrackerSettings

ENSEMBLE = "ensemble"
FitAll = Callable[[Series], Iterable[Fit]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Step:
    """One forecast of a backtest: made when `cell` was the newest, and what came."""

    cell: int
    tracker: Tracker
    truth: float

    @property
    def centres(self) -> Floats:
        """Central forecast of the target by each model; NaN for one that did not take part."""
        return self.tracker.ledger.open[-1].centres


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How one model did as the only one in use, calibrated like the ensemble.

    While it cannot run the last value stands in, so all models are scored on the same forecasts.
    `pinball_last_value` is of the last value calibrated in the same way, which is harder to beat
    than `pinball_last_value_as_it_is`, the last value taken for the quantile.
    """

    model: str
    forecasts: int
    pinball: float
    pinball_last_value: float
    pinball_last_value_as_it_is: float
    mase: float
    coverage: float
    width: float


def followed(
    series: Series, tracker: Tracker, fit_all: FitAll, refit_cells: int
) -> Iterator[Tracker]:
    """Yield the tracker after each cell of the series, with a refit every `refit_cells` cells."""
    tracker = tracker.update(series.start_seconds, None)
    for cell, value in enumerate(series.values):
        tracker = tracker.closed(np.array([value]))
        yield tracker
        if (cell + 1) % refit_cells == 0:
            tracker = tracker.with_fits(fit_all(tracker.plausible_history()))


def follow(
    series: Series, settings: TrackerSettings, fit_all: FitAll, refit_cells: int
) -> list[Step]:
    """Every forecast that the service would have made and whose truth the series holds."""
    steps = []
    trackers = followed(series, Tracker.fresh(settings), fit_all, refit_cells)
    for cell, tracker in enumerate(trackers):
        truth = settings.target.truth(series.values, cell)
        whole = cell + settings.target.last_step < len(series)
        if tracker.forecast.upper is not None and whole and not np.isnan(truth):
            steps.append(Step(cell=cell, tracker=tracker, truth=truth))
    return steps


def scores(series: Series, steps: list[Step], first_cell: int) -> list[Score]:
    """Score the ensemble and every model that ever took part, from `first_cell` on."""
    settings = steps[0].tracker.settings
    centres = np.array([step.centres for step in steps])
    cells = np.array([step.cell for step in steps])
    truths = np.array([step.truth for step in steps])
    stand_in = centres[:, settings.names.index(REFERENCE)]
    uppers: dict[str, Floats] = {}
    middles: dict[str, Floats] = {}
    filled = np.where(np.isnan(centres), stand_in[:, None], centres)
    promised = calibrated(cells, filled, truths, settings)
    for column, name in enumerate(settings.names):
        if not np.isnan(centres[:, column]).all():
            middles[name], uppers[name] = filled[:, column], promised[:, column]
    uppers[ENSEMBLE] = np.array([step.tracker.forecast.upper for step in steps])
    middles[ENSEMBLE] = np.array([step.tracker.forecast.centre for step in steps])
    scored = cells >= first_cell
    return _rows(series, truths[scored], _take(middles, scored), _take(uppers, scored), settings)


def calibrated(cells: Floats, centres: Floats, truths: Floats, settings: TrackerSettings) -> Floats:
    """Upper quantiles that each model alone would have promised, with feedback as late as live.

    `centres` and the result are of shape (forecasts, models). The calibration is the quick one.
    """
    scale = LogScale.of_errors(truths)
    logs = scale.up(centres)
    scores_ = (scale.up(truths)[:, None] - logs).T
    uppers = centres.copy()
    adaptive = Adaptive.covering(settings.fraction, centres.shape[1])
    resolved = 0
    for row, cell in enumerate(cells):
        while cells[resolved] <= cell - settings.target.last_step:
            if resolved >= settings.least_rows:
                adaptive = adaptive.after(truths[resolved], uppers[resolved].tolist())
            resolved += 1
        if resolved >= settings.least_rows:
            past = scores_[:, max(resolved - settings.evidence_rows, 0) : resolved]
            above = raised(past, fading(past.shape[1]), np.array([adaptive.levels]))[0]
            uppers[row] = scale.down(logs[row] + above)
    return uppers


def _take(columns: Mapping[str, Floats], rows: np.ndarray) -> dict[str, Floats]:
    return {name: column[rows] for name, column in columns.items()}


def _rows(
    series: Series,
    truths: Floats,
    middles: Mapping[str, Floats],
    uppers: Mapping[str, Floats],
    settings: TrackerSettings,
) -> list[Score]:
    reference = float(pinball(truths, uppers[REFERENCE], settings.fraction).mean())
    as_it_is = float(pinball(truths, middles[REFERENCE], settings.fraction).mean())
    return [
        Score(
            model=name,
            forecasts=len(truths),
            pinball=float(pinball(truths, upper, settings.fraction).mean()),
            pinball_last_value=reference,
            pinball_last_value_as_it_is=as_it_is,
            mase=mase(truths, middles[name], series.values),
            coverage=coverage(truths, upper),
            width=width(truths, upper),
        )
        for name, upper in uppers.items()
    ]
