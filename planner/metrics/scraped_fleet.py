"""A simulated fleet as a live planner sees it: scraped now and then, asked in a stack's PromQL."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from planner.metrics.evaluator import Answers
from planner.metrics.exposition import fleet_collector, samples_of
from planner.metrics.history import Labels
from planner.metrics.preset import Selection
from planner.metrics.presets import PRESETS
from planner.metrics.quality import QualitySettings
from planner.metrics.scrapes import Scrapes
from planner.metrics.source import Interpreter
from policies.config import PolicySettings
from policies.types import Observation
from replay.fleet import Fleet

_MODEL = "model"
_NAMESPACE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackLens:
    """Looks at a fleet through the metrics of a serving stack, as they were last scraped."""

    stack: str
    scrape_seconds: float = 15.0
    window_seconds: float = 60.0

    def watch(self, fleet: Fleet, settings: PolicySettings) -> ScrapedFleet:
        """Begin to scrape a fleet."""
        return ScrapedFleet(fleet, self, settings.input_length_cv)


class ScrapedFleet:
    """Scrapes all pods of a fleet at once every so often, and answers from what was scraped."""

    def __init__(self, fleet: Fleet, lens: StackLens, input_length_cv: float) -> None:
        selection = Selection(
            labels={"namespace": _NAMESPACE},
            model=_MODEL,
            window_seconds=lens.window_seconds,
            prefill_pods=".*prefill.*",
            decode_pods=".*decode.*",
        )
        self._fleet = fleet
        self._collector = fleet_collector(fleet, _MODEL, lens.stack)
        self._interpreter = Interpreter(
            PRESETS[lens.stack], selection, QualitySettings(), input_length_cv
        )
        self._scrape_seconds = lens.scrape_seconds
        self._next_seconds = fleet.now_seconds
        self._scrapes = Scrapes(selection)
        self._scrapes.learn(self._interpreter.queries)

    def advance(self, until_seconds: float) -> None:
        """Let the fleet run, scraping it when it is time."""
        while self._next_seconds <= until_seconds:
            self._fleet.advance(self._next_seconds)
            self._scrape(self._next_seconds)
            self._next_seconds += self._scrape_seconds
        self._fleet.advance(until_seconds)

    def _scrape(self, at_seconds: float) -> None:
        pages: dict[str, list[tuple[str, Labels, float]]] = defaultdict(list)
        for pod, sample in samples_of(self._collector):
            if sample.name in self._scrapes.wanted:
                labels = {**sample.labels, **_of_target(pod)}
                pages[pod].append((sample.name, frozenset(labels.items()), float(sample.value)))
        self._scrapes.retain(pages)
        for pod, samples in pages.items():
            up = ("up", frozenset(_of_target(pod).items()), 1.0)
            self._scrapes.record(pod, at_seconds, (up, *samples))

    def observe(self) -> Observation:
        """What the stack's queries say now of what was scraped."""
        now_seconds = self._fleet.now_seconds
        answers = Answers(self._scrapes.vectors(self._interpreter.queries, now_seconds))
        return self._interpreter.observation(answers, now_seconds)


def _of_target(pod: str) -> dict[str, str]:
    return {"pod": pod, "namespace": _NAMESPACE}
