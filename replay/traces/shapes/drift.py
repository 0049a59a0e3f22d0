"""Slow growth: what a profile learned once is wrong in the end."""

from __future__ import annotations

from replay.requests import Floats
from replay.traces.shapes.traffic import Traffic
from replay.traces.synthesis import Load, LoadAt


def load(traffic: Traffic) -> LoadAt:
    """The rate grows evenly from a third to the level, mean answers from half to all of theirs."""

    def load_at(seconds: Floats) -> Load:
        done = seconds / traffic.duration_seconds
        return traffic.at((1 + 2 * done) / 3, 1.0, (1 + done) / 2)

    return load_at
