"""Evaluates queries on a Prometheus-compatible server: now, or over a stretch of the past."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote_plus

from prometheus_api_client import PrometheusConnect

from planner.metrics.config import MetricsConfig
from planner.metrics.evaluator import Answers
from planner.metrics.sampled import answer, is_sampled
from planner.metrics.server import QueryRefusedError, Row, Rows, Server, ServerError
from planner.metrics.vector import Sample, Vector

# The library sends a query in the address; proxies in front of a server often stop at 8 KiB.
_MOST_URL_BYTES = 6000
# A server refuses ranges of more than 11,000 points per series.
_MOST_STEPS = 10_000
# Samples themselves take 25 bytes each: of 200 counters every 15 s for six minutes 0.15 MB.
_MOST_SAMPLED = 500
_NAME_LABEL = "pd_planner_query"

AskFor = Callable[[PrometheusConnect, str], Rows]


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of those queries of a batch that were evaluated."""

    rows: Mapping[str, Sequence[Row]]
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class PrometheusEvaluator:
    """Evaluates expressions many in one request, now or over the past."""

    def __init__(self, config: MetricsConfig) -> None:
        self._server = Server(config)

    async def evaluate(self, expressions: Mapping[str, str], at_seconds: float) -> Answers:
        """Evaluate all expressions, by name, as of one time."""

        def instant(client: PrometheusConnect, query: str) -> Rows:
            rows: Rows = client.custom_query(query, params={"time": at_seconds})
            return rows

        sampled = {name: query for name, query in expressions.items() if is_sampled(query)}
        numbers = {name: query for name, query in expressions.items() if name not in sampled}
        part, samples = await asyncio.gather(
            self._ask_all(numbers, instant),
            asyncio.gather(*(self._ask_samples(*one, at_seconds) for one in sampled.items())),
        )
        vectors = {
            name: tuple(Sample(row.labels, row.points[-1][1]) for row in rows)
            for name, rows in part.rows.items()
        }
        vectors |= {name: vector for one in samples for name, vector in one.vectors.items()}
        found = [*part.problems, *(text for one in samples for text in one.problems)]
        problems = tuple(text for text in dict.fromkeys(found) if text not in part.doubts)
        return Answers(vectors, problems, part.doubts)

    async def evaluate_past(
        self,
        expressions: Mapping[str, str],
        start_seconds: float,
        end_seconds: float,
        step_seconds: float,
    ) -> tuple[dict[float, dict[str, Vector]], tuple[str, ...]]:
        """Evaluate at every step, in requests that a server accepts; by time, then by name."""
        found: dict[float, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
        problems: dict[str, None] = {}
        for start, end in _stretches(start_seconds, end_seconds, step_seconds):
            part = await self._ask_all(expressions, _range(start, end, step_seconds))
            problems.update(dict.fromkeys((*part.problems, *part.doubts)))
            for name, rows in part.rows.items():
                for row in rows:
                    for at, value in row.points:
                        found[at][name].append(Sample(row.labels, value))
        by_time = {
            at: {name: tuple(samples) for name, samples in by_name.items()}
            for at, by_name in sorted(found.items())
        }
        return by_time, tuple(problems)

    async def close(self) -> None:
        """Forget requests that are under way."""
        self._server.close()

    async def _ask_samples(self, name: str, query: str, at_seconds: float) -> Answers:
        """Ask for samples themselves, in a request of their own: PromQL joins no ranges."""

        def instant(client: PrometheusConnect) -> Rows:
            # A server that knows no limit answers all; one that does, one more than is read.
            params = {"time": at_seconds, "limit": _MOST_SAMPLED + 1}
            rows: Rows = client.custom_query(query, params=params)
            return rows

        try:
            reply = await self._server.ask(instant)
        except QueryRefusedError as refused:
            return Answers({}, (f"query {name} is refused: {refused}",))
        except ServerError as error:
            return Answers({}, (str(error),))
        if len(reply.rows) > _MOST_SAMPLED:
            most = f"{name} selects more than {_MOST_SAMPLED} counters: too many to read often"
            return Answers({}, (most,))
        vector = await asyncio.to_thread(answer, [row.points for row in reply.rows])
        return Answers({name: vector}, _warned(reply.warnings))

    async def _ask_all(self, expressions: Mapping[str, str], ask_for: AskFor) -> _Part:
        batches = _batches(expressions)
        return _joined_parts(await asyncio.gather(*(self._ask(b, ask_for) for b in batches)))

    async def _ask(self, batch: Mapping[str, str], ask_for: AskFor) -> _Part:
        """Ask for a batch; if it is refused, one by one, so that one bad query is only one."""
        query = _joined(batch)
        try:
            reply = await self._server.ask(lambda client: ask_for(client, query))
        except QueryRefusedError as refused:
            if len(batch) == 1:
                (name,) = batch
                return _Part({}, (f"query {name} is refused: {refused}",))
            each = [await self._ask({name: query}, ask_for) for name, query in batch.items()]
            return _joined_parts(each)
        except ServerError as error:
            return _Part({}, (str(error),))
        rows: dict[str, list[Row]] = {name: [] for name in batch}
        for row in reply.rows:
            labels = dict(row.labels)
            name = labels.pop(_NAME_LABEL, "")
            if name not in rows:
                return _Part({}, (f"{self._server.url} answers {name!r}, which was not asked",))
            rows[name].append(Row(labels, row.points))
        return _Part(rows, doubts=_warned(reply.warnings))


def _warned(warnings: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"Prometheus warns: {warning}" for warning in warnings)


def _joined_parts(parts: Sequence[_Part]) -> _Part:
    rows = {name: rows for part in parts for name, rows in part.rows.items()}
    problems = dict.fromkeys(problem for part in parts for problem in part.problems)
    doubts = dict.fromkeys(doubt for part in parts for doubt in part.doubts)
    return _Part(rows, tuple(problems), tuple(doubts))


def _batches(expressions: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Group queries into as few requests as an address has room for."""
    batch: dict[str, str] = {}
    for name, query in expressions.items():
        if batch and len(quote_plus(_joined({**batch, name: query}))) > _MOST_URL_BYTES:
            yield batch
            batch = {}
        batch[name] = query
    if batch:
        yield batch


def _joined(batch: Mapping[str, str]) -> str:
    """Join queries into one that marks each result with its query's name."""
    return " or ".join(
        f'label_replace({query}, "{_NAME_LABEL}", "{name}", "", "")'
        for name, query in batch.items()
    )


def _range(start_seconds: float, end_seconds: float, step_seconds: float) -> AskFor:
    start, end = (datetime.fromtimestamp(at, UTC) for at in (start_seconds, end_seconds))

    def stretch(client: PrometheusConnect, query: str) -> Rows:
        rows: Rows = client.custom_query_range(query, start, end, f"{step_seconds:g}")
        return rows

    return stretch


def _stretches(start: float, end: float, step: float) -> Iterator[tuple[float, float]]:
    """Cut a range into parts of at most `_MOST_STEPS` steps, both ends of each included."""
    steps = int((end - start) // step)
    for first in range(0, steps + 1, _MOST_STEPS):
        last = min(first + _MOST_STEPS - 1, steps)
        yield start + first * step, start + last * step
