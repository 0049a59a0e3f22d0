"""Scale-outs that follow each other are one rise."""

from __future__ import annotations

import pytest

from policies.rise import NEVER_RISEN, Rise, noted
from policies.types import PerRole


@pytest.mark.parametrize(
    ("sizes", "rise"),
    [
        pytest.param([(0, 3, 3)], None, id="nothing changes"),
        pytest.param([(0, 3, 9)], Rise(0, 3), id="one step"),
        pytest.param([(0, 3, 9), (30, 9, 12), (90, 12, 14)], Rise(90, 3), id="steps of one rise"),
        pytest.param([(0, 3, 9), (61, 9, 12)], Rise(61, 9), id="a rise of its own"),
        pytest.param([(0, 3, 9), (300, 9, 5)], Rise(0, 3), id="a fall is no rise"),
    ],
)
def test_what_is_noted_of_scale_outs(sizes, rise):
    rises = NEVER_RISEN
    for now, current, target in sizes:
        rises = noted(rises, now, PerRole(current, 1), PerRole(target, 1))
    assert rises == PerRole(rise, None)
