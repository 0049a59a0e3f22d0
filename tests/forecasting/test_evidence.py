import numpy as np
import pytest

from forecasting.evidence import Evidence

LOSSES = np.array([[1.0, 2.0, np.nan], [2.0, 2.0, 4.0], [1.0, 4.0, 0.0]])


def after(losses, half_lives=(1.0, 1.0), charges=(1.0, 1.0, 1.0), overlap=1):
    evidence = Evidence.none(np.array(charges), half_lives, overlap)
    for row in losses:
        evidence = evidence.after(row)
    return evidence


def test_candidates_are_compared_on_the_forecasts_that_both_made():
    evidence = after(LOSSES)
    np.testing.assert_allclose(evidence.forecasts(), [1.75, 1.75, 1.5])
    # against the first: (0.25 x 1 + 0.5 x 0 + 1 x 3) / 1.75, and (0.5 x 2 - 1 x 1) / 1.5
    np.testing.assert_allclose(evidence.above(0), [0.0, 3.25 / 1.75, 0.0])
    assert evidence.leader(0, np.array([False, True, True])) == 2


def test_a_charge_makes_a_candidate_look_worse():
    assert after(LOSSES, charges=(1.0, 1.5, 1.0)).above(0)[1] > after(LOSSES).above(0)[1]


def test_standard_errors_grow_with_evidence_and_shrink_with_overlap():
    def errors(rows, overlap=1):
        evidence = after(losses[:rows], (1e9, 1e9), (1.0, 1.0), overlap)
        return evidence.errors_above(0)[1]

    losses = np.random.default_rng(0).normal([1.0, 1.5], 0.5, (400, 2))
    expected = (losses[:, 1] - losses[:, 0]).sum() / np.sqrt(((losses @ [-1, 1]) ** 2).sum())
    assert errors(400) == pytest.approx(expected)
    assert 0 < errors(40) < errors(400)
    assert errors(400, overlap=16) == pytest.approx(expected / 2)


def test_forecasts_that_overlap_fade_more_slowly():
    two = np.ones(
        (9, 2)
    )  # eight forecasts later, a half-life of 2 with 16 that overlap, half is left
    assert after(two, (2.0, 2.0), (1.0, 1.0), 16).count[0, 0, 1] == pytest.approx(
        sum(0.5 ** (age / 8) for age in range(9))
    )


def differing(means, seed=0):
    """What two candidates lost, row by row: nothing, and noise about `means`."""
    random = np.random.default_rng(seed)
    return np.column_stack([np.zeros(len(means)), random.normal(means, 1.0)])


def test_a_small_lasting_difference_is_told_by_the_lasting_pool():
    def errors(half_lives):
        found = [
            after(differing(np.full(800, 0.2), seed), half_lives, (1.0, 1.0)).errors_above(0)[1]
            for seed in range(20)
        ]
        return np.mean(found)

    assert errors((20.0, 20.0)) < 1.3
    assert errors((20.0, 200.0)) > 2.0


def test_a_candidate_that_has_changed_is_judged_by_the_recent_pool():
    means = np.r_[np.full(800, 1.0), np.full(40, -1.0)]
    slow_only = after(differing(means), (200.0, 200.0), (1.0, 1.0))
    recent_only = after(differing(means), (20.0, 20.0), (1.0, 1.0))
    both = after(differing(means), (20.0, 200.0), (1.0, 1.0))
    assert slow_only.above(0)[1] > 0.5
    assert both.above(0)[1] == pytest.approx(recent_only.above(0)[1], abs=0.05)
    assert both.above(0)[1] < -0.3


def test_what_is_known_is_carried_over_to_other_candidates():
    old = after(LOSSES)
    new = old.carried_into(Evidence.none(np.ones(4), (1.0, 1.0)), np.array([2, -1, 0, -1]))
    np.testing.assert_allclose(new.forecasts(), [1.5, 0.0, 1.75, 0.0])
    assert new.above(2)[0] == old.above(0)[2]
    assert (new.count[:, 1] == 0).all()
