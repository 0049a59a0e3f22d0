"""The seam between a preset's queries and whoever evaluates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from planner.metrics.vector import Vector


@dataclass(frozen=True, slots=True)
class Answers:
    """The vector of each query that could be evaluated, and why others could not.

    `doubts` say why what was evaluated may lack series: a sum of half the pods looks like half
    the load.
    """

    vectors: Mapping[str, Vector]
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class Evaluator(Protocol):
    """Evaluates PromQL. An outage is a problem in the answers, never an exception."""

    async def evaluate(self, expressions: Mapping[str, str], at_seconds: float) -> Answers:
        """Evaluate all expressions, by name, as of one time."""

    async def close(self) -> None:
        """Release connections."""
