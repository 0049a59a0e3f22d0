"""The models there are: those that ship, and those that others register by entry point."""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import entry_points

from forecasting.ets import Ets
from forecasting.forecaster import Forecaster
from forecasting.lagged_ridge import LaggedRidge
from forecasting.last_value import LastValue
from forecasting.mstl import Mstl
from forecasting.prophet import Prophet
from forecasting.recent_peak import RecentPeak
from forecasting.sarimax import Sarimax
from forecasting.seasonal_naive import SeasonalNaive
from forecasting.structural import Structural

BUILT_IN: tuple[Forecaster, ...] = (
    LastValue(),
    RecentPeak(),
    SeasonalNaive(),
    Ets(),
    Sarimax(),
    Structural(),
    LaggedRidge(),
    Mstl(),
    Prophet(),
)
ENTRY_POINT_GROUP = "pd_planner.forecasters"

REFIT_SECONDS = {
    "seasonal_naive": 900.0,
    "ets": 900.0,
    "lagged_ridge": 900.0,
    "mstl": 6 * 3600.0,
    "prophet": 12 * 3600.0,
}
"""How old a fit may get; models that are not named here, `DEFAULT_REFIT_SECONDS`."""

DEFAULT_REFIT_SECONDS = 3600.0


def forecasters(wanted: Collection[str] | None = None) -> tuple[Forecaster, ...]:
    """All models; an entry point names a Forecaster, or a class or function that makes one.

    Where all that are `wanted` ship, no entry point is loaded, so that a package that is broken
    and not asked for harms nobody. ValueError when two have the same name, or an entry point fails
    or gives something else.
    """
    found = list(BUILT_IN)
    if wanted is not None and set(wanted) <= {one.name for one in BUILT_IN}:
        return BUILT_IN
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            loaded = entry.load()
            made = loaded() if callable(loaded) else loaded
        except Exception as error:
            why = f"entry point {entry.name} = {entry.value} cannot be loaded"
            raise ValueError(f"{why}: {type(error).__name__}: {error}") from error
        if not (hasattr(made, "fit") and isinstance(getattr(made, "name", None), str)):
            raise ValueError(f"entry point {entry.name} = {entry.value} gives no Forecaster")
        if made.name in {one.name for one in found}:
            raise ValueError(f"entry point {entry.name}: there is a model {made.name!r} already")
        found.append(made)
    return tuple(found)
