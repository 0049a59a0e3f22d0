"""Kubernetes' scaling behaviour, as documented, in scenarios of (seconds, wanted, expected)."""

import pytest

from replay.baselines.behaviour import Behaved, Behaviour, recommend_for_ratio

SCENARIOS = [
    pytest.param(
        Behaviour(),
        4,
        [(0, 20, 8), (15, 20, 16), (30, 20, 20)],
        id="out-by-doubling-every-15-s",
    ),
    pytest.param(Behaviour(), 1, [(0, 20, 5), (15, 20, 10)], id="out-by-4-when-that-is-more"),
    pytest.param(
        Behaviour(), 4, [(0, 8, 8), (10, 20, 8), (15, 20, 16)], id="not-twice-in-one-period"
    ),
    pytest.param(
        Behaviour(),
        8,
        [(0, 3, 8), (150, 2, 8), (299, 3, 8), (300, 3, 3)],
        id="in-only-after-300-s-of-less",
    ),
    pytest.param(
        Behaviour(),
        8,
        [(0, 3, 8), (200, 6, 8), (301, 3, 6), (500, 3, 3)],
        id="in-to-the-most-wanted-within-the-window",
    ),
    pytest.param(
        Behaviour(scale_in_window_seconds=0),
        8,
        [(0, 3, 3)],
        id="in-at-once-without-a-window",
    ),
    pytest.param(
        Behaviour(scale_in_window_seconds=0, scale_in_fraction=0.5),
        8,
        [(0, 1, 4), (10, 1, 4), (15, 1, 2)],
        id="in-by-half-per-period",
    ),
    pytest.param(
        Behaviour(scale_out_window_seconds=60),
        4,
        [(0, 8, 4), (30, 8, 4), (60, 8, 8)],
        id="out-to-the-least-wanted-within-its-window",
    ),
]


@pytest.mark.parametrize(("behaviour", "current", "steps"), SCENARIOS)
def test_behaviour(behaviour, current, steps):
    pool = Behaved(behaviour)
    sizes = []
    for seconds, wanted, _ in steps:
        current = pool.apply(current, wanted, float(seconds))
        sizes.append(current)
    assert sizes == [expected for *_, expected in steps]


@pytest.mark.parametrize(
    ("ready", "current", "ratio", "expected"),
    [
        pytest.param(4, 4, 1.1, 4, id="within-tolerance-above"),
        pytest.param(4, 4, 0.9, 4, id="within-tolerance-below"),
        pytest.param(4, 4, 1.2, 5, id="out"),
        pytest.param(4, 4, 0.5, 2, id="in"),
        pytest.param(4, 4, 0.0, 0, id="idle"),
        pytest.param(2, 4, 2.0, 4, id="starting-pods-count-as-idle"),
        pytest.param(2, 4, 3.0, 6, id="even-so-too-few"),
        pytest.param(2, 4, 1.5, 4, id="never-in-because-pods-start"),
        pytest.param(2, 4, 0.5, 1, id="starting-pods-are-left-out-on-the-way-in"),
        pytest.param(0, 4, 3.0, 4, id="no-ready-pod-no-metric"),
    ],
)
def test_recommendation(ready, current, ratio, expected):
    assert recommend_for_ratio(ready, current, ratio, Behaviour()) == expected
