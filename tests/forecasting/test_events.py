import numpy as np
import pytest

from forecasting.events import Calendar

TEXT = """start,end,multiplier,floor
# Black Friday
2026-11-27T00:00:00Z,2026-11-28T00:00:00Z,2.5,
2026-11-27T18:00:00+01:00,2026-11-27T20:00:00+01:00,2,40
"""
NOON = 1795780800.0  # 2026-11-27T12:00:00Z


def test_multipliers_of_overlapping_events_multiply():
    calendar = Calendar.parse(TEXT)
    times = NOON + 3600.0 * np.array([-13, 0, 5.5, 12])
    np.testing.assert_allclose(calendar.multiplier(times), [1.0, 2.5, 5.0, 1.0])
    assert calendar.floor(times) == 40.0
    assert calendar.floor(times[:2]) == 0.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("begin,end\n", "start,end,multiplier,floor"),
        ("", "start,end,multiplier,floor"),
        ("start,end,multiplier,floor\n2026-11-27,2026-11-26,2,\n", "event 1 .*end after"),
        ("start,end,multiplier,floor\n2026-11-27,2026-11-28,0,\n", "above 0"),
        ("start,end,multiplier,floor\n2026-11-27,2026-11-28,1,\n", "neither a multiplier"),
        ("start,end,multiplier,floor\nnoon,2026-11-28,2,\n", "event 1 .*noon"),
        ("start,end,multiplier,floor\n2026-11-27,2026-11-28\n", "event 1"),
    ],
)
def test_a_wrong_calendar_says_where(text, says):
    with pytest.raises(ValueError, match=says):
        Calendar.parse(text)
