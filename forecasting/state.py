"""A tracker as JSON text, for a restart. Fitted models are not kept: they are fitted again."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import numpy as np

from forecasting.conformal import CALIBRATIONS
from forecasting.ledger import Ledger, Origin
from forecasting.plausible import Plausible
from forecasting.series import Floats, Series
from forecasting.target import Target
from forecasting.tracker import Tracker, TrackerSettings

VERSION = 3


def encode(tracker: Tracker) -> str:
    """Write history, evidence and calibration; size is bounded by the settings.

    Numbers are kept to 7 digits (float32, base64).
    """
    ledger = tracker.ledger
    return json.dumps(
        {
            "version": VERSION,
            "step_seconds": tracker.settings.step_seconds,
            "target": [tracker.settings.target.first_step, tracker.settings.target.last_step],
            "fraction": tracker.settings.fraction,
            "start_seconds": tracker.history.start_seconds,
            "history": _packed(tracker.history.values),
            "names": list(ledger.names),
            "centres": _packed(ledger.centres),
            "truths": _packed(ledger.truths),
            "open_cells": [origin.cell for origin in ledger.open],
            "open_centres": _packed(np.array([origin.centres for origin in ledger.open])),
            "open_uppers": _packed(np.array([origin.uppers for origin in ledger.open])),
            "open_promises": _packed(np.array([origin.upper for origin in ledger.open])),
            "quick": _packed(np.array(ledger.quick.miss_fractions)),
            "slow": _packed(np.array(ledger.slow.miss_fractions)),
            "evidence": [_packed(one) for one in ledger.evidence.matrices],
            "open_cell": tracker.open_cell,
            "total": tracker.total,
            "count": tracker.count,
        }
    )


def decode(text: str, settings: TrackerSettings) -> Tracker:
    """Restore a tracker under the settings of today; ValueError says why it cannot be used.

    The evidence is dropped when it was of another target, quantile or set of models.
    """
    try:
        kept = json.loads(text)
        found, wanted = (kept["version"], kept["step_seconds"]), (VERSION, settings.step_seconds)
        if found == wanted:
            return _restored(kept, settings)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a forecast state: {error}") from error
    raise ValueError(f"version and cell seconds are {found}, this planner needs {wanted}")


def restore(text: str) -> Tracker:
    """Restore a tracker under the settings it was written with; ValueError as for `decode`."""
    try:
        kept = json.loads(text)
        settings = TrackerSettings(
            names=tuple(kept["names"]),
            step_seconds=kept["step_seconds"],
            target=Target(*kept["target"]),
            fraction=kept["fraction"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a forecast state: {error}") from error
    return decode(text, settings)


def _restored(kept: dict[str, Any], settings: TrackerSettings) -> Tracker:
    history = Series(kept["start_seconds"], settings.step_seconds, _unpacked(kept["history"]))
    tracker = replace(
        Tracker.fresh(settings),
        history=history.tail(settings.history_cells),
        plausible=Plausible.of(history.values),
        open_cell=kept["open_cell"],
        total=kept["total"],
        count=kept["count"],
    )
    target = [settings.target.first_step, settings.target.last_step]
    now = (target, settings.fraction, list(settings.names))
    if (kept["target"], kept["fraction"], kept["names"]) != now:
        return tracker
    return replace(tracker, ledger=_ledger(kept, tracker.ledger))


def _ledger(kept: dict[str, Any], empty: Ledger) -> Ledger:
    models = len(empty.names)
    rows = zip(
        kept["open_cells"],
        _unpacked(kept["open_centres"]).reshape(-1, models),
        _unpacked(kept["open_uppers"]).reshape(-1, CALIBRATIONS, models),
        _unpacked(kept["open_promises"]).tolist(),
        strict=True,
    )
    return replace(
        empty,
        centres=_unpacked(kept["centres"]).reshape(-1, models),
        truths=_unpacked(kept["truths"]),
        quick=replace(empty.quick, miss_fractions=tuple(_unpacked(kept["quick"]).tolist())),
        slow=replace(empty.slow, miss_fractions=tuple(_unpacked(kept["slow"]).tolist())),
        evidence=empty.evidence.holding(*map(_unpacked, kept["evidence"])),
        open=tuple(Origin(*row) for row in rows),
    )


def _packed(values: Floats) -> str:
    return base64.b64encode(np.asarray(values, "<f4").tobytes()).decode()


def _unpacked(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)
