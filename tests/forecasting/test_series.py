import numpy as np
import pytest

from forecasting.series import Series, filled
from forecasting.target import Target


def test_coarser_cells_end_where_the_series_ends():
    series = Series(0.0, 60.0, np.array([9.0, 1.0, 3.0, np.nan, 5.0]))
    coarse = series.coarsened(2)
    assert (coarse.start_seconds, coarse.end_seconds) == (60.0, 300.0)
    np.testing.assert_array_equal(coarse.values, [2.0, 5.0])


def test_values_since_a_time_are_those_a_fit_has_not_seen():
    series = Series(600.0, 60.0, np.arange(5.0))
    np.testing.assert_array_equal(series.since(720.0), [2.0, 3.0, 4.0])
    assert len(series.since(900.0)) == 0
    np.testing.assert_array_equal(series.tail(2).since(0.0), [3.0, 4.0])


def test_gaps_are_bridged_by_lines_and_ends_by_the_nearest():
    values = filled(np.array([np.nan, 1.0, np.nan, 3.0, np.nan]))
    np.testing.assert_array_equal(values, [1.0, 1.0, 2.0, 3.0, 3.0])


@pytest.mark.parametrize(
    ("lead", "hold", "step", "expected"),
    [
        pytest.param(120, 300, 60, Target(2, 7), id="two-minutes-ahead-held-for-five"),
        pytest.param(600, 0, 600, Target(1, 1), id="one-cell-ahead"),
        pytest.param(600, 0, 3600, Target(1, 1), id="lead-within-the-next-cell"),
        pytest.param(0, 0, 60, Target(1, 1), id="never-the-present"),
    ],
)
def test_target_covers_the_cells_of_its_window(lead, hold, step, expected):
    assert Target.of(lead, hold, step) == expected


def test_truth_is_the_peak_after_the_lead_unless_most_of_it_is_unknown():
    target = Target(2, 4)
    values = np.array([0.0, 9.0, 1.0, np.nan, 3.0])
    assert target.truth(values, 0) == 3.0
    assert np.isnan(target.truth(np.array([0.0, 9.0, 1.0, np.nan, np.nan]), 0))
