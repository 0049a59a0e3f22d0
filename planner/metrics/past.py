"""What the planner would have seen, read from a server's past: a warm start, or a recording."""

from __future__ import annotations

from dataclasses import dataclass

from planner.metrics.config import MetricsConfig
from planner.metrics.prometheus import PrometheusEvaluator
from planner.metrics.reading import Reading, queries
from policies.types import Observation

# A server works on days of history for longer than on one instant.
_DEADLINE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Past:
    """Observations in order of time, one per step at which anything was known."""

    observations: tuple[Observation, ...]
    problems: tuple[str, ...]


async def read_past(
    config: MetricsConfig, start_seconds: float, end_seconds: float, step_seconds: float
) -> Past:
    """Observe every `step_seconds` from start to end; an outage is a problem, not an exception.

    The library asks in whole seconds, so times are rounded to them.
    """
    patience = max(config.deadline_seconds, _DEADLINE_SECONDS)
    evaluator = PrometheusEvaluator(config.model_copy(update={"deadline_seconds": patience}))
    preset, window = config.signals, config.window_seconds
    try:
        by_time, problems = await evaluator.evaluate_past(
            queries(preset, config.selection),
            round(start_seconds),
            round(end_seconds),
            max(round(step_seconds), 1),
        )
    finally:
        await evaluator.close()
    return Past(
        tuple(
            Reading(preset, answers).observation(at, window, ()) for at, answers in by_time.items()
        ),
        problems,
    )
