"""Known events in a file beside the configuration."""

import pytest

from planner.config import load_for_replay
from planner.errors import UserError

EVENTS = """start,end,multiplier,floor
2026-11-27T08:00:00+01:00,2026-11-27T20:00:00+01:00,3,
2026-12-01,2026-12-02,,40
"""


@pytest.fixture
def with_events(tmp_path):
    """A replay's configuration that names an events file with this text."""

    def write(text):
        path = tmp_path / "planner.yaml"
        path.write_text("policy: {forecast: {events_file: events.csv}}\n")
        (tmp_path / "events.csv").write_text(text)
        return path

    return write


def test_an_events_file_beside_the_configuration_is_read(with_events):
    first, second = load_for_replay(with_events(EVENTS)).policy.forecast.events
    assert first.multiplier == 3.0
    assert first.start.timestamp() == 1795762800.0
    assert second.floor_requests_per_second == 40.0


def test_a_wrong_line_in_an_events_file_is_named(with_events):
    with pytest.raises(UserError, match=r"events.csv: event 3 .*noon"):
        load_for_replay(with_events(EVENTS + "noon,2026-12-02,2,\n"))


def test_an_events_file_that_is_not_there_is_named(with_events):
    path = with_events(EVENTS)
    (path.parent / "events.csv").unlink()
    with pytest.raises(UserError, match=r"events\.csv: No such file"):
        load_for_replay(path)
