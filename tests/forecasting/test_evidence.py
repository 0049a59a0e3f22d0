import numpy as np
import pytest

from forecasting.evidence import Evidence

LOSSES = np.array([[1.0, 2.0, np.nan], [2.0, 2.0, 4.0], [1.0, 4.0, 0.0]])


def after(losses, half_life=1.0, charges=(1.0, 1.0, 1.0)):
    evidence = Evidence.none(np.array(charges), half_life)
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
    losses = np.random.default_rng(0).normal([1.0, 1.5], 0.5, (400, 2))
    few = after(losses[:40], 1e9, (1.0, 1.0)).errors_above(0, overlap=1)[1]
    many = after(losses, 1e9, (1.0, 1.0))
    expected = (losses[:, 1] - losses[:, 0]).sum() / np.sqrt(((losses @ [-1, 1]) ** 2).sum())
    assert many.errors_above(0, overlap=1)[1] == pytest.approx(expected)
    assert 0 < few < many.errors_above(0, overlap=1)[1]
    assert many.errors_above(0, overlap=16)[1] == pytest.approx(expected / 2)


def test_what_is_known_is_carried_over_to_other_candidates():
    old = after(LOSSES)
    new = old.carried_into(Evidence.none(np.ones(4), 1.0), np.array([2, -1, 0, -1]))
    np.testing.assert_allclose(new.forecasts(), [1.5, 0.0, 1.75, 0.0])
    assert new.above(2)[0] == old.above(0)[2]
    assert (new.count[1] == 0).all()
