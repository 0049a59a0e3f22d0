"""Which fits have grown too old: the same rule for a service and for a replay of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from forecasting.forecaster import Forecaster
from forecasting.registry import DEFAULT_REFIT_SECONDS, REFIT_SECONDS
from forecasting.tracker import Tracker


@dataclass(slots=True)
class Schedule:
    """Remembers when each model of each tracker was last fitted.

    `refit_seconds` is how old a fit may get; None leaves it to `REFIT_SECONDS`.
    """

    refit_seconds: float | None = None
    _fitted_at: dict[tuple[str, str], float] = field(default_factory=dict)

    def due(
        self,
        forecasters: Iterable[Forecaster],
        trackers: Mapping[str, Tracker],
        now_seconds: float,
    ) -> list[tuple[str, Forecaster]]:
        """What to fit now, by the tracker's key; it counts as fitted from here on.

        A clock that stepped back makes everything due.
        """
        due = [
            (key, forecaster)
            for key, tracker in trackers.items()
            for forecaster in forecasters
            if len(tracker.history) and self._is_due(key, forecaster.name, now_seconds)
        ]
        self._fitted_at.update({(key, one.name): now_seconds for key, one in due})
        return due

    def _is_due(self, key: str, name: str, now_seconds: float) -> bool:
        fitted_at = self._fitted_at.get((key, name))
        age = self.refit_seconds or REFIT_SECONDS.get(name, DEFAULT_REFIT_SECONDS)
        return fitted_at is None or now_seconds - fitted_at >= age or now_seconds < fitted_at
