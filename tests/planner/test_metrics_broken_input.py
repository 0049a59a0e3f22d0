"""No input, however broken, turns unknown into a number."""

from __future__ import annotations

import asyncio
import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from planner.metrics.config import MetricsConfig
from planner.metrics.discovery import Target
from planner.metrics.evaluator import Answers
from planner.metrics.preset import Preset, Signal
from planner.metrics.reading import Reading
from planner.metrics.scrape import parse
from planner.metrics.server import rows_of
from planner.metrics.signals import SIGNALS
from planner.metrics.source import Interpreter, QueriedSource
from planner.metrics.vector import Buckets, Sample, Vector, number
from policies.types import Observation, PerRole, Trust

labels = st.dictionaries(
    st.sampled_from(["le", "pod", "x"]),
    st.sampled_from(["+Inf", "1", "NaN"]) | st.text(),
    max_size=2,
)
values = st.sampled_from([math.inf, -math.inf, math.nan, -1.0, 0.0]) | st.floats()
vectors = st.lists(st.builds(Sample, labels, values), max_size=4).map(tuple)
KEYS = ["metric", "value", "values"]
EVERYTHING = Preset("all", "everything", {name: Signal((name,), meaning=name) for name in SIGNALS})


def numbers_of(seen: Observation) -> list[float]:
    """Every number that an observation holds."""
    found: list[float] = []

    def visit(value: object) -> None:
        if isinstance(value, bool | str) or value is None:
            return
        if isinstance(value, int | float):
            found.append(float(value))
        elif isinstance(value, tuple | list | PerRole):
            for part in value:
                visit(part)
        else:
            for name in type(value).__dataclass_fields__:
                visit(getattr(value, name))

    visit(seen)
    return found


@given(vectors)
def test_a_number_is_single_finite_and_not_negative(vector: Vector) -> None:
    read = number(vector)
    if read is not None:
        assert [sample.value for sample in vector] == [read]
        assert math.isfinite(read)
        assert read >= 0


@given(vectors, st.floats(0.01, 0.99))
def test_a_quantile_is_finite_or_unknown(vector: Vector, share: float) -> None:
    buckets = Buckets.read(vector)
    if buckets is None:
        return
    quantile = buckets.quantile(share)
    assert quantile is None or (math.isfinite(quantile) and quantile > 0)
    assert all(math.isfinite(count) and count >= 0 for count in buckets.counts)


class Saying:
    """An evaluator that answers what it was made with."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def evaluate(self, expressions: object, at_seconds: float) -> Answers:
        return self._answers

    async def close(self) -> None:
        """Nothing to release."""


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(SIGNALS)).map(lambda name: f"{name}/0"), vectors))
def test_an_observation_holds_finite_numbers_and_only_those_that_were_answered(
    answered: dict[str, Vector],
) -> None:
    config = MetricsConfig.model_validate({"url": "http://p", "model": "m"})
    source = QueriedSource(
        Saying(Answers(answered)), Interpreter(EVERYTHING, config.selection, config.quality)
    )
    seen = asyncio.run(source.observe(1000.0))
    assert all(math.isfinite(value) for value in numbers_of(seen))
    if number(answered.get("requests_per_second/0", ())) is None:
        assert seen.requests_per_second is None
        assert seen.trust is Trust.NONE
    for field in ("finished_per_second", "output_tokens_mean", "kv_usage_fraction"):
        assert getattr(seen, field) is None or f"{field}/0" in answered


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda parts: st.lists(parts) | st.dictionaries(st.sampled_from(KEYS), parts),
)
answers_like = st.fixed_dictionaries(
    {"metric": st.dictionaries(st.text(max_size=3), anything, max_size=2) | anything},
    optional={"value": st.tuples(anything, anything) | anything, "values": st.lists(anything)},
)


@given(st.lists(answers_like | anything, max_size=3) | anything)
def test_a_broken_answer_is_an_error_or_its_own_numbers(rows: object) -> None:
    try:
        read = tuple(rows_of(rows))
    except ValueError:
        return
    for row in read:
        assert all(isinstance(name, str) for name in row.labels)
        for at, value in (row.points[-1], *row.points):
            assert isinstance(at, float)
            assert isinstance(value, float)


@given(st.text(max_size=200) | st.from_regex(r"up\{[a-z=\",]*\} \S{1,8}\n", fullmatch=True))
def test_a_broken_page_is_an_error_or_its_own_numbers(text: str) -> None:
    target = Target("http://pod", frozenset({("pod", "p")}))
    try:
        samples = parse(text, target, frozenset({"up"}))
    except (ValueError, KeyError, IndexError):
        return
    for name, _, value in samples:
        assert name == "up"
        assert isinstance(value, float)


def test_no_answers_at_all_give_no_number_at_all() -> None:
    reading = Reading(EVERYTHING, {})
    seen = reading.observation(1000.0, 60.0, ())
    assert numbers_of(seen) == [1000.0, 60.0]
    assert reading.unknown == tuple(SIGNALS)
