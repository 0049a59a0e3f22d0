"""Clairvoyant bounds, kept in a file: each takes about sixty replays."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from replay.compare import Case, play


@dataclass(frozen=True, slots=True)
class Bound:
    """What the cheapest schedule found costs and attains, and of how many requests."""

    gpu_hours: float
    joint_attainment: float
    requests: int


class Bounds:
    """Computes a bound once for each key; without `compute`, knows only those in the file."""

    def __init__(self, path: Path | None, *, compute: bool = True) -> None:
        self._path, self._compute = path, compute
        self._known: dict[str, Bound] = {}
        if path and path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            self._known = {key: Bound(**value) for key, value in kept.items()}

    def of(self, key: str, case: Case) -> Bound | None:
        """The bound of a case; a kept one is refused when the workload has changed since."""
        known = self._known.get(key)
        if known and known.requests == sum(map(len, case.workload.open(case.seed).chunks())):
            return known
        if not self._compute:
            return None
        score = play(case).score
        found = Bound(score.gpu_hours, score.joint_attainment or 0.0, score.requests)
        self._known[key] = found
        if self._path:
            kept = {key: asdict(bound) for key, bound in self._known.items()}
            self._path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        return found
