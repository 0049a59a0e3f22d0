import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.recent import trailing_mean, trailing_means

steps = st.lists(st.floats(0.1, 30), min_size=1, max_size=70)


def test_a_window_holds_the_samples_after_its_start():
    assert trailing_means((10.0, 20.0, 30.0), (1.0, 2.0, 6.0), 20.0) == [1.0, 1.5, 4.0]


@given(steps, st.floats(0.0, 200), st.data())
def test_plain_floats_give_what_arrays_give(gaps, window_seconds, data):
    seconds = np.cumsum(gaps)
    values = np.array([data.draw(st.floats(0, 100)) for _ in gaps])
    oldest = data.draw(st.integers(0, len(gaps) - 1))
    expected = trailing_mean(seconds, values, window_seconds)[oldest:]
    found = trailing_means(seconds.tolist(), values.tolist(), window_seconds, oldest)
    assert list(found) == pytest.approx(expected.tolist(), abs=1e-9)
