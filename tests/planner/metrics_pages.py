"""Metrics pages written by hand, and what a preset reads from them on the planner's own evaluation.

That it evaluates as a Prometheus server does is shown in test_metrics_stacks.py.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

from planner.metrics.crosschecks import Evidence
from planner.metrics.history import History
from planner.metrics.preset import Selection
from planner.metrics.presets import PRESETS
from planner.metrics.promql import Evaluation
from planner.metrics.quality import QualitySettings, judge
from planner.metrics.reading import Reading, queries
from planner.metrics.sampled import is_sampled
from planner.metrics.vector import Sample
from policies.types import Observation

SELECTION = Selection(
    labels={},
    model="Tiny",
    window_seconds=60,
    prefill_pods="prefill.*",
    decode_pods="decode.*",
)
Scrapes = Sequence[tuple[float, dict[str, str]]]


def read(preset: str, scrapes: Scrapes, selection: Selection = SELECTION) -> Reading:
    """Scrape pages by pod at each time, then ask the preset's queries for numbers at the last."""
    history = History(keep_seconds=300)
    for at, pages in scrapes:
        history.retain(pages)
        for pod, text in pages.items():
            samples = [
                (s.name, frozenset({"pod": pod, **s.labels}.items()), s.value)
                for family in text_string_to_metric_families(text)
                for s in family.samples
            ]
            up = ("up", frozenset({("pod", pod)}), 1.0)
            history.record(pod, at, [up, *samples])
    evaluation = Evaluation(history, scrapes[-1][0])
    answers = {}
    for name, query in queries(PRESETS[preset], selection).items():
        if is_sampled(query):
            continue
        value = evaluation.value(_parsed(query))
        assert isinstance(value, dict)
        answers[name] = tuple(Sample(dict(labels), number) for labels, number in value.items())
    return Reading(PRESETS[preset], answers)


@functools.cache
def _parsed(query: str) -> promql_parser.Expr:
    return promql_parser.parse(query)


def observed(preset: str, scrapes: Scrapes, selection: Selection = SELECTION) -> Observation:
    reading = read(preset, scrapes, selection)
    seen = reading.observation(scrapes[-1][0], selection.window_seconds, ())
    return judge(Evidence(seen, (), reading), QualitySettings())


def counting(name: str, labels: str, per_second: float, start: float = 1000.0) -> list[str]:
    """A counter at 0, 15, 30, 45 and 60 s."""
    return [
        f"# TYPE {name} counter\n{name}_total{{{labels}}} {start + per_second * at}\n"
        for at in (0, 15, 30, 45, 60)
    ]


def gauge(name: str, labels: str, value: float) -> str:
    return f"# TYPE {name} gauge\n{name}{{{labels}}} {value}\n"


def histogram(name: str, labels: str, counts: dict[str, float], total: float) -> str:
    """A histogram by its cumulative counts, `+Inf` among them."""
    rows = "".join(f'{name}_bucket{{{labels},le="{le}"}} {n}\n' for le, n in counts.items())
    count = f"{name}_count{{{labels}}} {counts['+Inf']}\n{name}_sum{{{labels}}} {total}\n"
    return f"# TYPE {name} histogram\n{rows}{count}"


def over_time(pod: str, texts: Sequence[str]) -> Scrapes:
    return [(15.0 * i, {pod: text}) for i, text in enumerate(texts)]
