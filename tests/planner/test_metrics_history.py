from planner.metrics.history import History

LABELS = frozenset({("pod", "a")})


def everything(_: object) -> bool:
    return True


def test_a_clock_that_was_set_back_does_not_hide_what_is_scraped_now() -> None:
    history = History(keep_seconds=120)
    for at, value in ((4000.0, 7.0), (4010.0, 8.0), (400.0, 9.0), (410.0, 11.0)):
        history.record("a", at, [("m", LABELS, value)])
    assert list(history.latest("m", everything, 410.0)) == [(LABELS, (410.0, 11.0))]
    found = [(400.0, 9.0), (410.0, 11.0)]
    assert list(history.within("m", everything, 350.0, 410.0)) == [(LABELS, found)]


def test_of_two_pages_that_show_the_same_series_at_once_the_first_counts() -> None:
    history = History(keep_seconds=120)
    history.record("a", 10.0, [("m", LABELS, 1.0)])
    history.record("b", 10.0, [("m", LABELS, 2.0)])
    assert list(history.latest("m", everything, 10.0)) == [(LABELS, (10.0, 1.0))]


def test_what_is_too_old_is_forgotten_whoever_is_scraped_first() -> None:
    history = History(keep_seconds=120)
    for at in (0.0, 100.0, 200.0):
        history.record("a", at, [("m", LABELS, at)])
        history.record("b", at, [("n", LABELS, at)])
    for name in "mn":
        found = history.within(name, everything, -1.0, 200.0)
        assert list(found) == [(LABELS, [(100.0, 100.0), (200.0, 200.0)])]
