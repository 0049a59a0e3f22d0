"""What was scraped lately of some pages, and what queries make of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import promql_parser

from planner.metrics.history import History, Labels
from planner.metrics.preset import Selection
from planner.metrics.promql import Evaluation, metrics_of
from planner.metrics.sampled import answer, is_sampled
from planner.metrics.vector import Sample, Vector

Scraped = tuple[tuple[str, Labels, float], ...]


class Scrapes:
    """Keeps of each page what the queries name, for as long as they look back."""

    def __init__(self, selection: Selection) -> None:
        # Twice the window, so that a scrape that comes late still has its predecessor.
        self._history = History(keep_seconds=2 * selection.window_seconds)
        self._sampled = History(selection.span_seconds + selection.window_seconds)
        self._wanted_sampled = frozenset[str]()
        self._trees: dict[str, promql_parser.Expr] = {}
        self.wanted = frozenset[str]()
        """Names of the metrics that any query so far has asked for."""

    def learn(self, expressions: Mapping[str, str]) -> None:
        """Parse new queries; from now on what they name is kept. ValueError for no PromQL."""
        for name, query in expressions.items():
            if name not in self._trees:
                tree = self._trees[name] = promql_parser.parse(query)
                metrics = frozenset(metrics_of(tree))
                self.wanted |= metrics
                if is_sampled(query):
                    self._wanted_sampled |= metrics

    def retain(self, targets: Iterable[str]) -> None:
        """End the series of every other page."""
        kept = tuple(targets)
        for history in (self._history, self._sampled):
            history.retain(kept)

    def record(
        self, target: str, at_seconds: float, samples: Scraped, late_seconds: float = 0.0
    ) -> None:
        """Take one scrape of a page, which answered `late_seconds` after its round began."""
        self._history.record(target, at_seconds, samples)
        # At 50 requests/s a second's delay is 50 requests, which would look like a burst.
        counted = [one for one in samples if one[0] in self._wanted_sampled]
        self._sampled.record(target, at_seconds + late_seconds, counted)

    def vectors(
        self, names: Iterable[str], at_seconds: float, late_seconds: float = 0.0
    ) -> dict[str, Vector]:
        """Evaluate queries that were learnt, as of a time; the last page came that much later."""
        now = Evaluation(self._history, at_seconds)
        sampled = Evaluation(self._sampled, at_seconds + late_seconds)
        return {name: _vector(self._trees[name], now, sampled) for name in names}


def _vector(tree: object, now: Evaluation, sampled: Evaluation) -> Vector:
    if isinstance(tree, promql_parser.MatrixSelector):
        return answer(sampled.points(tree))
    value = now.value(tree)
    if isinstance(value, float):
        return (Sample({}, value),)
    return tuple(Sample(dict(labels), number) for labels, number in value.items())
