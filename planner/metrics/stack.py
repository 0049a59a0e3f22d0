"""What is really running: which stack, in which version, serving which models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planner.metrics.preset import Preset, Selection
from planner.metrics.presets import PRESETS
from planner.metrics.vector import Vector, number

_MODELS = "models of "


def questions(selection: Selection) -> dict[str, str]:
    """Queries, by name, whose answers the functions below read."""
    asked = {}
    for preset in PRESETS.values():
        for name, query in _named(preset):
            asked[name] = selection.fill(query)
    return asked


def _named(preset: Preset) -> Iterator[tuple[str, str]]:
    for program, marks in preset.marks.items():
        for rank, mark in enumerate(marks):
            yield f"{program}/{rank}", mark.query
    if preset.models:
        yield f"{_MODELS}{preset.name}", preset.models


def recognise(answers: Mapping[str, Vector]) -> tuple[str | None, dict[str, str]]:
    """Name the preset of the running stack, and its programs with the versions they seem to be.

    A preset is recognised by its first program. Those of routers come before those of the
    engines that also run behind them.
    """
    for preset in PRESETS.values():
        found = {
            program: mark.versions
            for program, marks in preset.marks.items()
            for mark in marks[_first_answered(program, len(marks), answers) :][:1]
        }
        if found and next(iter(preset.marks)) in found:
            return preset.name, found
    return None, {}


def _first_answered(program: str, marks: int, answers: Mapping[str, Vector]) -> int:
    return next(
        (rank for rank in range(marks) if number(answers.get(f"{program}/{rank}", ()))), marks
    )


def models(answers: Mapping[str, Vector]) -> tuple[str, ...]:
    """List the models that any stack serves, by the names in its labels."""
    found = {
        name: None
        for preset in PRESETS
        for sample in answers.get(f"{_MODELS}{preset}", ())
        for name in sample.labels.values()
    }
    return tuple(sorted(found))
