from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.buckets import DYNAMO, FINEST, SGLANG, VLLM
from replay.requests import Requests
from replay.tally import Histogram, Tally


@given(st.lists(st.floats(0, 1e6), max_size=50), st.lists(st.floats(0, 1e6), max_size=50))
def test_histogram_counts_every_value_once_in_the_bucket_that_holds_it(
    first: list[float], second: list[float]
) -> None:
    edges = [0, 1, 10, 100, 1e5]
    histogram = Histogram(edges)
    histogram.observe(np.array(first, dtype=float))
    histogram.observe(np.array(second, dtype=float))
    values = first + second
    for i, edge in enumerate(edges):
        assert histogram.counts[: i + 1].sum() == sum(value <= edge for value in values)
    assert histogram.count == len(values)
    assert histogram.sum == pytest.approx(sum(values))


def test_histogram_rejects_unordered_edges() -> None:
    with pytest.raises(ValueError, match="ascend"):
        Histogram([1, 1, 2])


def test_tally_follows_requests_from_arrival_to_the_end() -> None:
    tally = Tally()
    requests = Requests(
        arrival_seconds=np.array([0.0, 1.0]),
        input_tokens=np.array([150.0, 5000.0]),
        output_tokens=np.array([10.0, 1.0]),
        cached_tokens=np.array([50.0, 0.0]),
    )
    tally.arrive(requests)
    tally.first_tokens(np.array([0.3, 2.0]))
    tally.finish(np.array([0.02, np.nan]), requests.output_tokens)
    assert tally.arrived_requests == tally.finished_requests == 2
    assert tally.generated_tokens == 11
    assert tally.cached_tokens.sum == 50
    assert tally.ttft_seconds.sum == pytest.approx(2.3)
    # Ten tokens have nine gaps; a single token has none, whatever its inter-token latency says.
    assert tally.itl_seconds.count == 9
    assert tally.itl_seconds.sum == pytest.approx(0.18)


@given(st.lists(st.floats(0, 200), max_size=50))
def test_a_histogram_is_shown_on_the_edges_of_any_stack_exactly(values: list[float]) -> None:
    finest = Histogram(FINEST.itl_seconds)
    finest.observe(np.array(values, dtype=float))
    for layout in (DYNAMO, VLLM, SGLANG):
        directly = Histogram(layout.itl_seconds)
        directly.observe(np.array(values, dtype=float))
        shown = finest.regrouped(layout.itl_seconds)
        assert shown.counts.tolist() == directly.counts.tolist()
        assert shown.sum == directly.sum


def test_an_edge_that_a_histogram_does_not_have_counts_to_the_edge_below_it() -> None:
    histogram = Histogram([1, 2, 4])
    histogram.observe(np.array([0.5, 1.5, 3.0, 5.0]))
    assert histogram.regrouped((3,)).counts.tolist() == [2, 2]
    assert histogram.regrouped((0.5, 8)).counts.tolist() == [0, 3, 1]
