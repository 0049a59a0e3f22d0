"""The same places by several seeds: mean and worst, as a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from statistics import fmean
from typing import Any

# Of each measure: where it is in a row, which of several is the worst, and how it is written.
_MEASURES: dict[str, tuple[str, Callable[[Iterable[float]], float], str]] = {
    "attains": ("joint_attainment", min, ".2%"),
    "GPU-h": ("gpu_hours", max, ".2f"),
    "/bound": ("gpu_hours_over_bound", max, ".2f"),
    "events/h": ("scaling_events_per_hour", max, ".1f"),
    "flaps": ("flaps", max, ".1f"),
    "drain s": ("drain_seconds", max, ".0f"),
}


def over_seeds(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One line for each policy in each place; a cell is the mean and, in brackets, the worst.

    What is unknown in a row (a bound that was not computed) is left out of its cell.
    """
    headings = ("workload", "start-up s", "error", "policy", "seeds", *_MEASURES)
    yield f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}"
    for (trace, startup, error, policy), same in _by_place(rows).items():
        measured = (
            _cell([row[key] for row in same if row[key] is not None], worst, form)
            for key, worst, form in _MEASURES.values()
        )
        place = (trace, f"{startup:g}", f"{error:+.0%}", policy, str(len(same)))
        yield f"| {' | '.join((*place, *measured))} |"


def _by_place(rows: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    places: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = (row["trace"], row["startup_seconds"], row["profile_error"], row["policy"])
        places.setdefault(key, []).append(row)
    return places


def _cell(values: list[float], worst: Callable[[Iterable[float]], float], form: str) -> str:
    return f"{fmean(values):{form}} ({worst(values):{form}})" if values else "-"
