"""What is remembered from tick to tick: bounded, and the same after a restart."""

from __future__ import annotations

import pytest
from test_engine import ENGINE, pools, seen

from policies.memory import Memory


def test_memory_survives_a_restart_as_json():
    memory = Memory()
    for i in range(80):
        _, memory = ENGINE.decide(seen(15.0 * i, 20.0 + i), pools(3, 1), memory, 15.0 * i)
    restored = Memory.from_json(memory.to_json())
    assert restored.to_json() == memory.to_json()
    observation = seen(1200.0, 100.0)
    kept, _ = ENGINE.decide(observation, pools(3, 1), memory, 1200.0)
    after, _ = ENGINE.decide(observation, pools(3, 1), restored, 1200.0)
    assert after.target == kept.target


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("{", "not a planner memory", id="cut-off"),
        pytest.param('{"version": 99}', "version 99", id="other-version"),
    ],
)
def test_a_memory_that_cannot_be_read_says_why(text, words):
    with pytest.raises(ValueError, match=words):
        Memory.from_json(text)


def test_memory_is_bounded():
    memory, sizes = Memory(), []
    for i in range(400):
        _, memory = ENGINE.decide(seen(15.0 * i), pools(3, 1), memory, 15.0 * i)
        sizes.append((len(memory.seconds), len(memory.loads), len(memory.sizes)))
    assert sizes[-1] == sizes[-100]
