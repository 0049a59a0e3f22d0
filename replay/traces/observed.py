"""What a planner saw of a real fleet, step by step: a recording without single requests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from policies.lengths import Lengths
from policies.types import Observation
from replay.requests import Floats
from replay.traces.gaps import stand_ins
from replay.traces.source import Source
from replay.traces.synthesis import Synthesis
from replay.traces.trace import Trace, TraceError

_FORMAT = "pd-planner-observations"
_VERSION = 1
_OBSERVATION = TypeAdapter(Observation)


def write_observations(
    path: Path, observations: Iterable[Observation], *, step_seconds: float, model: str
) -> None:
    """Write one JSON object per line: a head, then an observation per step, in order of time."""
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "step_seconds": step_seconds,
        "model": model,
    }
    lines = [json.dumps(head), *(_OBSERVATION.dump_json(seen).decode() for seen in observations)]
    try:
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    except OSError as error:
        raise TraceError(f"{path}: cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Observed:
    """Draws requests at the observed rates, with lengths of the observed distributions."""

    name: str = "observed"
    looks_for: str = f'a first line with "format": "{_FORMAT}"'

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Look at the first line."""
        del path
        return f'"{_FORMAT}"' in head[0]

    def trace(self, source: Source) -> Trace:
        """Draw Poisson arrivals; steps at which the rate was unknown take another day's."""
        step, observations = _read(source)
        places, per_second = _on_grid(observations, step)
        missing = np.isnan(per_second)
        if missing.all():
            raise TraceError(f"{source.path}: the arrival rate is unknown at every step")
        stand_in = stand_ins(missing, round(86_400 / step))
        per_second = per_second[stand_in]
        synthesis = Synthesis(
            rate_at=lambda seconds: per_second[_steps(seconds, step, len(per_second))],
            lengths=source.options.lengths or _Lengths.of(observations, places, stand_in, step),
            duration_seconds=step * len(per_second),
            seed=source.options.seed,
        )
        notes = [f"synthesised from observations every {step:g} s, Poisson arrivals"]
        if missing.any():
            notes.append(f"{missing.sum()} steps of unknown rate filled from other times")
        trace = synthesis.trace(source.path.name.split(".")[0], self.name, tuple(notes))
        return replace(trace, ledgers=(source.ledger,))


@dataclass(frozen=True, slots=True)
class _Lengths:
    """Draws lengths from the distributions that were observed at each step."""

    step_seconds: float
    inputs: tuple[Lengths, ...]
    outputs: tuple[Lengths, ...]

    @classmethod
    def of(
        cls,
        observations: list[Observation],
        places: NDArray[np.int64],
        stand_in: NDArray[np.int64],
        step_seconds: float,
    ) -> _Lengths:
        """Take each step's own; where it is unknown, the latest known one, or the first."""
        at = dict(zip(places.tolist(), observations, strict=True))
        steps = [at.get(int(place)) for place in stand_in]
        return cls(
            step_seconds,
            _filled([seen.input_tokens if seen else None for seen in steps], "input"),
            _filled([_outputs(seen) if seen else None for seen in steps], "output"),
        )

    def __call__(
        self, random: np.random.Generator, arrival_seconds: Floats
    ) -> tuple[Floats, Floats]:
        """Draw both lengths, independently."""
        steps = _steps(arrival_seconds, self.step_seconds, len(self.inputs))
        return _draw(random, self.inputs, steps), _draw(random, self.outputs, steps)


def _draw(
    random: np.random.Generator, laws: tuple[Lengths, ...], steps: NDArray[np.int64]
) -> Floats:
    drawn = np.empty(len(steps))
    for step in np.unique(steps):
        chosen, law = steps == step, laws[step]
        drawn[chosen] = random.choice(law.tokens, size=chosen.sum(), p=law.weights)
    return np.maximum(np.rint(drawn), 1.0)


def _outputs(seen: Observation) -> Lengths | None:
    if seen.output_tokens is not None:
        return seen.output_tokens
    mean = seen.output_tokens_mean
    return Lengths.lognormal(mean) if mean is not None else None


def _filled(laws: list[Lengths | None], which: str) -> tuple[Lengths, ...]:
    known = next((law for law in laws if law is not None), None)
    if known is None:
        raise TraceError(f"the {which} lengths are unknown at every step; give --lengths")
    filled = []
    for law in laws:
        known = law or known
        filled.append(known)
    return tuple(filled)


def _steps(seconds: Floats, step_seconds: float, count: int) -> NDArray[np.int64]:
    return np.minimum((seconds / step_seconds).astype(np.int64), count - 1)


def _on_grid(
    observations: list[Observation], step_seconds: float
) -> tuple[NDArray[np.int64], Floats]:
    """Place of each observation on the regular grid, and the rate at every place, NaN unknown."""
    seconds = np.array([seen.observed_at_seconds for seen in observations])
    places = np.rint((seconds - seconds[0]) / step_seconds).astype(np.int64)
    per_second = np.full(places[-1] + 1, np.nan)
    rates = [seen.requests_per_second for seen in observations]
    per_second[places] = [np.nan if rate is None else rate for rate in rates]
    return places, per_second


def _read(source: Source) -> tuple[float, list[Observation]]:
    with source.opened() as file:
        head, *lines = file.read().splitlines()
    try:
        settings = json.loads(head)
        version, step = settings["version"], float(settings["step_seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise TraceError(f"{source.path}: line 1: no head of a recording: {error}") from error
    if version != _VERSION or not step > 0:
        raise TraceError(f"{source.path}: line 1: version {version} with steps of {step} s")
    observations = []
    for number, line in enumerate(lines, start=2):
        try:
            observations.append(_OBSERVATION.validate_json(line))
        except ValidationError as error:
            why = f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
            raise TraceError(f"{source.path}: line {number}: {why}") from error
    times = [seen.observed_at_seconds for seen in observations]
    if not times or any(b <= a for a, b in itertools.pairwise(times)):
        raise TraceError(f"{source.path}: needs observations in order of time, at least one")
    return step, observations
