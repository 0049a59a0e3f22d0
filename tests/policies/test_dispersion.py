def test_reads_of_one_round_may_be_milliseconds_apart() -> None:
    counters = steady(4)
    rng = np.random.default_rng(2)
    late = [[(t + rng.uniform(0, 0.05), value) for t, value in one] for one in counters]
    assert dispersion(late) == pytest.approx(dispersion(counters), rel=0.02)
