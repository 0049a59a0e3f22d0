"""What a person at a terminal reads, line by line."""

from __future__ import annotations

import io
from dataclasses import replace

from planner.journal import Record
from planner.terminal import Terminal
from policies.config import Slo
from policies.types import Binding, Decision, Hold, HoldReason, Latency, Observation, PerRole

HELD = Decision(
    decided_at_seconds=10.0,
    current=PerRole(2, 1),
    target=PerRole(2, 1),
    hold=Hold(HoldReason.ALREADY_RIGHT, "the size wanted"),
    binding=(Binding.TTFT,),
)
GROWN = replace(HELD, target=PerRole(3, 1), hold=None)
MEASURED = Latency(p95_seconds=0.5)


def lines(*decisions: Decision, ttft: Latency = MEASURED) -> list[str]:
    stream = io.StringIO()
    terminal = Terminal(stream, Slo())
    for decision in decisions:
        seen = Observation(
            observed_at_seconds=10.0, window_seconds=60.0, requests_per_second=33.9, ttft=ttft
        )
        terminal.show(Record(observation=seen, pools=PerRole(None, None), decision=decision))
    return [line.split("req/s  ")[1] for line in stream.getvalue().splitlines()]


def test_a_hold_for_the_same_reasons_is_one_short_line():
    assert lines(HELD, HELD) == ["hold 2+1: TTFT binds", "hold 2+1: measured TTFT p95 500 ms"]
    assert lines(HELD, HELD, ttft=Latency()) == ["hold 2+1: TTFT binds", "hold 2+1"]


def test_another_reason_or_a_change_is_told_in_full():
    blind = replace(HELD, hold=Hold(HoldReason.METRICS_UNKNOWN, "no answer"), binding=())
    told = lines(HELD, blind, GROWN, GROWN, HELD)
    assert told[1] == "hold 2+1: the metrics are unknown: no answer"
    assert told[2] == told[3]
    assert told[3].startswith("scale prefill 2->3, decode stays at 1: TTFT binds")
    assert told[4] == told[0]
