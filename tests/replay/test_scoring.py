"""Every request is judged once, and by both objectives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.config import Slo
from replay.scoring import LatencySketch, Scorer

SLO = Slo(ttft_seconds=1.0, itl_seconds=0.05)


def score(ttft, itl, *, requests=None, slo=SLO, tokens=100.0):
    scorer = Scorer(slo)
    scorer.finish(np.array(ttft), np.array(itl), np.full(len(ttft), tokens))
    return scorer.score(
        requests=len(ttft) if requests is None else requests,
        run_seconds=10.0,
        gpu_seconds=7200.0,
        scaling_events=3,
    )


@pytest.mark.parametrize(
    ("ttft", "itl", "attained"),
    [
        pytest.param([1.0], [0.05], (1.0, 1.0, 1.0), id="both-on-the-limit"),
        pytest.param([1.1], [0.05], (0.0, 1.0, 0.0), id="ttft-missed"),
        pytest.param([1.0], [0.06], (1.0, 0.0, 0.0), id="itl-missed"),
        pytest.param([0.5, 1.1, 0.5, 1.1], [0.01, 0.01, 0.06, 0.06], (0.5, 0.5, 0.25), id="joint"),
    ],
)
def test_attainment(ttft, itl, attained):
    judged = score(ttft, itl)
    assert (judged.ttft_attainment, judged.itl_attainment, judged.joint_attainment) == attained


def test_what_has_not_finished_has_missed():
    judged = score([0.5] * 3, [0.01] * 3, requests=4)
    assert judged.joint_attainment == 0.75
    assert judged.unfinished_requests == 1


def test_a_longer_prompt_may_be_given_more_time():
    slo = Slo(ttft_seconds=1.0, ttft_seconds_per_input_token=0.01, itl_seconds=0.05)
    assert score([1.9], [0.01], slo=slo, tokens=100.0).joint_attainment == 1.0
    assert score([1.9], [0.01], slo=slo, tokens=50.0).joint_attainment == 0.0


def test_goodput_counts_what_met_both():
    assert score([0.5, 0.5, 2.0], [0.01, 0.06, 0.01]).goodput_per_second == pytest.approx(0.1)


def test_gpu_hours():
    assert score([0.5], [0.01]).gpu_hours == 2.0


def test_nothing_arrived():
    judged = score([], [])
    assert judged.joint_attainment is None
    assert judged.ttft_p95_seconds is None


@given(
    st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=200),
    st.sampled_from((0.5, 0.95, 0.99, 1.0)),
)
def test_sketched_quantiles_are_within_one_percent(seconds, share):
    sketch = LatencySketch()
    sketch.add(np.array(seconds))
    exact = float(np.quantile(seconds, share, method="inverted_cdf"))
    assert sketch.quantile(share) == pytest.approx(exact, rel=0.011)
