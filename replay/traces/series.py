"""The layouts of files that hold a series of counts or rates over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from replay.requests import Floats
from replay.traces.columns import Count, Instant, Kind, Number, parse_columns
from replay.traces.order import TimedColumns


@dataclass(frozen=True, slots=True)
class Points(TimedColumns):
    """Values at the starts of windows; NaN where the file says it has none."""

    values: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The columns of one kind of series file.

    `starts` gives the start of each window in seconds from the columns. `series` are the columns
    to choose from, the first by default, and what lengths suit them. Values are counts per window
    unless `per_second`.
    """

    columns: Mapping[str, Kind]
    starts: Callable[[Mapping[str, Floats]], Floats]
    series: Mapping[str, str]
    per_second: bool = False
    gap_column: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def header(self) -> str:
        """The first line of such a file."""
        return ",".join(self.columns)

    def points(self, series: str, lines: Sequence[str]) -> Points:
        """Read windows; one that the file marks as a gap is NaN."""
        values = parse_columns(self.columns, lines)
        chosen = values[series]
        if self.gap_column:
            chosen = np.where(values[self.gap_column] > 0, np.nan, chosen)
        return Points(self.starts(values), chosen)


def _days_and_hours(values: Mapping[str, Floats]) -> Floats:
    return (values["day"] * 24 + values["hour"]) * 3600


_DAY_HOUR: dict[str, Kind] = {"day": Count(), "hour": Count()}

_LAYOUTS = (
    Layout(
        columns={"timestamp": Instant(), "count": Count()},
        starts=lambda values: values["timestamp"],
        series={"count": "azure-conversation"},
    ),
    Layout(
        columns={"timestamp_utc": Instant(), "requests_10min_approx": Count()},
        starts=lambda values: values["timestamp_utc"],
        series={"requests_10min_approx": "azure-conversation"},
        notes=("Azure 2024, approximate counts",),
    ),
    Layout(
        columns={**_DAY_HOUR, "date": Instant(), "conversation": Count()},
        starts=_days_and_hours,
        series={"conversation": "azure-conversation"},
        notes=("Azure 2024, hourly counts",),
    ),
    Layout(
        columns={**_DAY_HOUR, "conversation": Count(), "api": Count(), "all": Count()},
        starts=_days_and_hours,
        series={
            "all": "burstgpt-api",
            "conversation": "burstgpt-conversation",
            "api": "burstgpt-api",
        },
        notes=(
            "BurstGPT, hourly counts, failed calls included",
            "local time, zone unstated; day 0 seems to be a Wednesday",
        ),
    ),
    Layout(
        columns={
            "t_s": Number(),
            "rate_rps": Number(least=0),
            "active_clients": Count(),
            "rate_weighted_client_cv": Number(),
            "gap": Count(),
        },
        starts=lambda values: values["t_s"],
        series={"rate_rps": "servegen-m-mid"},
        per_second=True,
        gap_column="gap",
        notes=("ServeGen, sum over clients",),
    ),
)

LAYOUTS = {layout.header: layout for layout in _LAYOUTS}
"""By the first line of the file."""
