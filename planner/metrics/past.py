"""What the planner would have seen, read from a server's past: a warm start, or a recording."""

from __future__ import annotations

from dataclasses import dataclass, replace

from planner.metrics.config import MetricsConfig, SourceKind
from planner.metrics.prometheus import PrometheusEvaluator
from planner.metrics.reading import Reading, queries
from planner.metrics.sampled import is_sampled
from policies.types import Observation

# A server works on days of history for longer than on one instant.
_DEADLINE_SECONDS = 30.0
# What a decision remembers of the past.
_DEMAND = frozenset(
    {
        "requests_per_second",
        "input_tokens_mean",
        "input_tokens_buckets",
        "output_tokens_mean",
        "prefix_hit_fraction",
    }
)


@dataclass(frozen=True, slots=True)
class Past:
    """Observations in order of time, one per step at which anything was known."""

    observations: tuple[Observation, ...]
    problems: tuple[str, ...]


async def read_past(
    config: MetricsConfig,
    start_seconds: float,
    end_seconds: float,
    step_seconds: float,
    signals: frozenset[str] | None = None,
    input_length_cv: float = 1.0,
) -> Past:
    """Observe every `step_seconds` from start to end; an outage is a problem, not an exception.

    `signals` restricts what is asked for; how bursty arrivals were stays unknown. The library asks
    in whole seconds, so times are rounded.
    """
    patience = max(config.deadline_seconds, _DEADLINE_SECONDS)
    evaluator = PrometheusEvaluator(config.model_copy(update={"deadline_seconds": patience}))
    preset, window = config.signals, config.window_seconds
    if signals is not None:
        kept = {name: signal for name, signal in preset.signals.items() if name in signals}
        preset = replace(preset, signals=kept)
    asked = queries(preset, config.selection)
    try:
        by_time, problems = await evaluator.evaluate_past(
            {name: query for name, query in asked.items() if not is_sampled(query)},
            round(start_seconds),
            round(end_seconds),
            max(round(step_seconds), 1),
        )
    finally:
        await evaluator.close()
    return Past(
        tuple(
            Reading(preset, answers, input_length_cv).observation(at, window, ())
            for at, answers in by_time.items()
        ),
        problems,
    )


async def read_demand(
    config: MetricsConfig,
    since_seconds: float,
    now_seconds: float,
    step_seconds: float,
    input_length_cv: float = 1.0,
) -> Past:
    """Read the demand of the last `config.history_seconds`, as far as it is younger than `since`.

    Empty for a source that has no past.
    """
    start = max(since_seconds, now_seconds - config.history_seconds)
    end = now_seconds - step_seconds
    if config.source is not SourceKind.PROMETHEUS or start >= end:
        return Past((), ())
    return await read_past(config, start, end, step_seconds, _DEMAND, input_length_cv)
