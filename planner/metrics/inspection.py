"""Looks at every signal once, for `planner check`: what is known, how well, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planner.metrics import stack
from planner.metrics.config import MetricsConfig, make_evaluator
from planner.metrics.evaluator import Answers
from planner.metrics.preset import Preset, Signal
from planner.metrics.reading import Reading, queries
from planner.metrics.signals import SIGNALS, Origin
from planner.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRow:
    """One signal as it is now. Value None is unknown; `query` is the one that answered."""

    name: str
    value: str | None
    unit: str
    age_seconds: float | None
    coverage_fraction: float | None
    query: str
    rank: int | None
    needed: bool
    asked: bool = True
    remedy: str = ""

    @property
    def of_pools(self) -> bool:
        """Whether it is known without traffic, and needed for scaling in."""
        return SIGNALS[self.name].origin is not Origin.DEMAND


@dataclass(frozen=True, slots=True)
class Inspection:
    """All signals, what went wrong, and what is really running.

    `recognised` is the preset of the running stack, `versions` of each of its programs;
    `models` are the names under which it serves any.
    """

    rows: tuple[SignalRow, ...]
    problems: tuple[str, ...]
    recognised: str | None
    versions: Mapping[str, str]
    models: tuple[str, ...]

    @property
    def blind(self) -> bool:
        """Whether nothing at all was read, because of the problems: no signal is to blame then."""
        return bool(self.problems) and all(row.rank is None for row in self.rows)

    @property
    def missing(self) -> tuple[SignalRow, ...]:
        """Signals that decisions need and that nothing answers."""
        return tuple(row for row in self.rows if row.needed and row.value is None)


async def inspect(
    config: MetricsConfig, clock: Clock, between_seconds: float | None = None
) -> Inspection:
    """Evaluate the configured preset, and the marks by which every other one is recognised.

    `between_seconds` asks for a look before the one that counts, for rates to have two samples.
    """
    evaluator = make_evaluator(config)
    signals = queries(config.signals, config.selection)
    asked = {**signals, **stack.questions(config.selection)}
    try:
        if between_seconds is not None:
            await evaluator.evaluate(asked, clock.now_seconds())
            await clock.sleep_until(clock.now_seconds() + between_seconds)
        now = clock.now_seconds()
        answers = await evaluator.evaluate(asked, now)
    finally:
        await evaluator.close()
    recognised, versions = stack.recognise(answers.vectors)
    return Inspection(
        rows=_rows(config, config.signals, answers),
        problems=(*answers.problems, *answers.doubts),
        recognised=recognised,
        versions=versions,
        models=stack.models(answers.vectors),
    )


def _rows(config: MetricsConfig, preset: Preset, answers: Answers) -> tuple[SignalRow, ...]:
    reading = Reading(preset, answers.vectors)
    rows = []
    for name, kind in SIGNALS.items():
        signal = preset.signals.get(name)
        rank = reading.rank(name)
        rows.append(
            SignalRow(
                name=name,
                value=_value(reading, name),
                unit=kind.unit,
                age_seconds=reading.number(f"{kind.origin}_age_seconds"),
                coverage_fraction=(
                    reading.number(f"{kind.origin}_coverage_fraction")
                    if kind.origin is not Origin.DEMAND
                    else None
                ),
                query=signal.queries[rank] if signal and rank is not None else "",
                rank=rank,
                needed=kind.needed,
                asked=signal is not None,
                remedy="" if rank is not None else _remedy(config, name, signal),
            )
        )
    return tuple(rows)


def _value(reading: Reading, name: str) -> str | None:
    if SIGNALS[name].is_histogram:
        buckets = reading.buckets(name)
        return f"{len(buckets.edges)} buckets" if buckets else None
    value = reading.number(name)
    return f"{value:.4g}" if value is not None else None


def _remedy(config: MetricsConfig, name: str, signal: Signal | None) -> str:
    """What would provide a signal that is missing."""
    if signal is None:
        if name in config.lacks:
            return "said to be lacking in metrics.lacks"
        return f"preset {config.preset} has no query for it; add one as metrics.queries.{name}"
    first = config.signals.since_of(name)
    since = f" (the stack has it since {first})" if first else ""
    selected = {
        Origin.DEMAND: "metrics.model",
        Origin.PREFILL: "metrics.prefill_pods",
        Origin.DECODE: "metrics.decode_pods",
    }[SIGNALS[name].origin]
    return f"nothing answers{since}; check {selected}, or set metrics.queries.{name}"
