import numpy as np
import pytest

from forecasting.change import UNWATCHED
from forecasting.ensemble import choose, unproven
from forecasting.scoring import pinball

NAMES = ("last_value", "seasonal_naive", "good", "also_good", "bad")


def centres(truth, errors, seed=0):
    random = np.random.default_rng(seed)
    return np.column_stack([truth * np.exp(e * random.standard_normal(len(truth))) for e in errors])


@pytest.fixture
def truth():
    return 100 * np.exp(0.3 * np.sin(np.arange(400) / 10))


def weights(table, truth, overlap=1, now=None):
    """Shares by model; each promises its centre raised by the right quantile of its errors."""
    raised = table * np.nanquantile(truth[:, None] / table, 0.9, axis=0)
    evidence = unproven(NAMES, overlap)
    for uppers, value in zip(raised, truth, strict=True):
        evidence = evidence.after(np.tile(pinball(value, uppers, 0.9), 2))
    now = ~np.isnan(table[-1]) if now is None else now
    shares = choose(evidence, NAMES, now).sum(axis=0)
    return {name: share for name, share in zip(NAMES, shares, strict=True) if share > 0}


def test_nothing_is_used_that_does_not_beat_the_naive_ones(truth):
    table = centres(truth, (0.1, 0.2, 0.1005, 0.2, 0.4))
    table[:, 2] = table[:, 0] * 1.0001  # as good as the last value, but not better by the margin
    assert weights(table, truth) == {"last_value": 1.0}


def test_where_the_seasonal_naive_leads_only_what_is_about_as_good_is_beside_it(truth):
    found = weights(centres(truth, (0.2, 0.05, 0.1, 0.055, 0.4)), truth)
    assert max(found, key=found.get) == "seasonal_naive"
    assert set(found) <= {"seasonal_naive", "also_good"}


def test_independent_good_models_are_blended(truth):
    found = weights(centres(truth, (0.2, 0.2, 0.05, 0.05, 0.4)), truth)
    assert set(found) == {"good", "also_good"}
    assert sum(found.values()) == pytest.approx(1.0)


def test_a_model_that_no_longer_takes_part_is_not_chosen(truth):
    table = centres(truth, (0.2, 0.2, 0.05, 0.1, 0.4))
    present = np.array([True, True, False, True, True])
    assert weights(table, truth, now=present) == {"also_good": 1.0}


def test_a_model_that_came_late_is_compared_on_what_it_took_part_in(truth):
    table = centres(truth, (0.1, 0.2, 0.05, 0.3, 0.4))
    truth, table = truth.copy(), table.copy()
    truth[:300] *= np.exp(
        np.random.default_rng(1).standard_normal(300)
    )  # hard times before it came
    table[:300, 2] = np.nan
    assert max(weights(table, truth).items(), key=lambda pair: pair[1])[0] == "good"


def test_few_rows_hedge_and_more_rows_tell(truth):
    def share(rows):
        tables = [centres(truth, (0.2, 0.2, 0.1, 0.12, 0.4), seed) for seed in range(20)]
        found = [weights(table[-rows:], truth[-rows:]) for table in tables]
        return np.mean([one.get("good", 0.0) for one in found])

    assert share(3) == 0.0
    assert 0.4 < share(10) < 0.75
    assert share(400) > 0.85  # evidence fades, so it never tells all


def test_forecasts_that_overlap_tell_less(truth):
    table = centres(truth, (0.2, 0.2, 0.1, 0.11, 0.4))
    apart, together = weights(table, truth), weights(table, truth, overlap=12)
    assert together["good"] < apart["good"]


def test_the_better_calibration_of_a_model_leads():
    random = np.random.default_rng(0)
    evidence = unproven(NAMES, 1)
    for truth in 100 * np.exp(0.1 * random.standard_normal(200)):
        uppers = np.array([[130.0] * 5, [150.0, 150.0, 150.0, 113.7, 150.0]])
        evidence = evidence.after(pinball(truth, uppers, 0.9).ravel())
    shares = choose(evidence, NAMES, np.ones(5, bool))
    assert shares[1, 3] == pytest.approx(1.0)


def watched(errors, naive_error=0.0):
    watch, alarms = UNWATCHED, []
    for cell, error in enumerate(errors):
        watch = watch.after(error, naive_error)
        if watch.changed:
            alarms.append(cell)
    return alarms


@pytest.mark.parametrize("sign", [1, -1])
def test_a_lasting_shift_is_noticed_within_five_cells(sign):
    errors = 0.1 * np.random.default_rng(0).standard_normal(300)
    errors[200:205] += sign
    assert watched(errors)[0] in range(200, 205)


def test_noise_and_one_wild_cell_raise_no_alarm():
    errors = 0.1 * np.random.default_rng(0).standard_normal(2000)
    errors[1000] = 50.0
    errors[1500] = np.nan
    assert watched(errors) == []


def test_where_the_last_value_is_as_wrong_there_is_no_alarm():
    errors = 0.1 * np.random.default_rng(0).standard_normal(300)
    errors[200:210] += 1.0
    assert watched(errors, naive_error=-1.5) == []
