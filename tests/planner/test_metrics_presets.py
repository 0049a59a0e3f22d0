"""Presets as data: every query is PromQL, every placeholder known, every value escaped."""

from __future__ import annotations

import promql_parser
import pytest

from planner.metrics.preset import Preset, Selection, Signal
from planner.metrics.presets import PRESETS
from planner.metrics.reading import queries
from planner.metrics.signals import SIGNALS

HOSTILE = Selection(
    labels={"namespace": 'a"b\\c\nd'},
    model='"} or vector(1) or x{y="',
    window_seconds=60,
    prefill_pods=r"p\.[0-9]+",
    decode_pods='d"',
    dynamo_namespace="my-ns.*",
)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_query_parses_even_with_hostile_values(preset: Preset) -> None:
    for name, query in queries(preset, HOSTILE).items():
        tree = promql_parser.parse(query)
        assert "vector(1)" not in tree.prettify().replace('or vector(1) or x{y=\\"', ""), name


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_every_signal_has_a_meaning_a_unit_and_a_first_version(preset: Preset) -> None:
    for name, signal in preset.signals.items():
        assert signal.meaning, name
        assert SIGNALS[name].unit
        assert preset.since_of(name), name


def test_an_unset_scope_leaves_valid_queries() -> None:
    selection = Selection(
        labels={}, model="m", window_seconds=0.5, prefill_pods="p", decode_pods="d"
    )
    for query in queries(PRESETS["dynamo"], selection).values():
        promql_parser.parse(query)


def test_a_regular_expression_keeps_its_backslash() -> None:
    assert HOSTILE.fill('x{pod=~"$prefill_pods"}') == r'x{pod=~"p\\.[0-9]+"}'


def test_dynamo_is_asked_for_either_spelling_of_a_model_and_for_underscores() -> None:
    selection = Selection(
        labels={},
        model="Org/Model",
        window_seconds=60,
        prefill_pods="p",
        decode_pods="d",
        dynamo_namespace="my-ns",
    )
    text = "\n".join(queries(PRESETS["dynamo"], selection).values())
    assert 'model=~"Org/Model|org/model"' in text
    assert 'dynamo_namespace=~"my_ns(-.*)?"' in text


@pytest.mark.parametrize(
    ("name", "query", "message"),
    [
        pytest.param("requests_per_second", "sum(x{$wher})", "unknown \\$wher", id="placeholder"),
        pytest.param("requests_per_second", "sum(x{$})", "lone \\$", id="lone-dollar"),
        pytest.param("requests_per_hour", "sum(x)", "no signal is called", id="signal-name"),
    ],
)
def test_a_broken_preset_cannot_be_registered(name: str, query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preset(name="mine", stack="mine", signals={name: Signal((query,), meaning="x")})
