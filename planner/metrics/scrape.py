"""Evaluates queries on pages that it reads itself: no Prometheus needed.

Every observation reads all pages, so its gauges are as fresh as can be and its rates end now.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from planner.metrics.access import headers, tls_context
from planner.metrics.config import MetricsConfig
from planner.metrics.discovery import Discovery, Target, discovery_of
from planner.metrics.evaluator import Answers
from planner.metrics.scrapes import Scraped, Scrapes

_LARGEST_PAGE_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Page:
    """What a target answered, how long after the round began; without samples, why not."""

    target: Target
    samples: Scraped | None
    problem: str = ""
    late_seconds: float = 0.0


class ScrapeEvaluator:
    """Reads all pages, then evaluates on the history of what it read."""

    def __init__(self, config: MetricsConfig, discovery: Discovery | None = None) -> None:
        self._config = config
        self._discovery = discovery or discovery_of(config)
        self._scrapes = Scrapes(config.selection)

    async def evaluate(self, expressions: Mapping[str, str], at_seconds: float) -> Answers:
        """Evaluate all expressions, by name, as of one time."""
        try:
            targets = await self._discovery.targets()
        except OSError as error:
            return Answers({}, (str(error),))
        self._scrapes.learn(expressions)
        pages = await self._read(targets)
        self._record(pages, at_seconds)
        problems = [page.problem for page in pages if page.problem]
        if not targets:
            problems.append("there is no page to read: metrics.scrape selects no running pod")
        late_seconds = max((page.late_seconds for page in pages), default=0.0)
        vectors = self._scrapes.vectors(expressions, at_seconds, late_seconds)
        return Answers(vectors, tuple(problems))

    async def close(self) -> None:
        """Release connections."""
        await self._discovery.close()

    async def _read(self, targets: Sequence[Target]) -> list[_Page]:
        timeout = aiohttp.ClientTimeout(total=self._config.deadline_seconds)
        try:
            sent = headers(self._config.access)
            connector = aiohttp.TCPConnector(ssl=tls_context(self._config.access))
        except OSError as error:
            return [_Page(target, None, f"metrics.access: {error}") for target in targets]
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=sent
        ) as session:
            return await asyncio.gather(*(self._page(session, target) for target in targets))

    async def _page(self, session: aiohttp.ClientSession, target: Target) -> _Page:
        clock = asyncio.get_running_loop()
        begun = clock.time()
        try:
            async with session.get(target.url) as response:
                late_seconds = clock.time() - begun
                response.raise_for_status()
                body = await response.content.read(_LARGEST_PAGE_BYTES + 1)
                while len(body) <= _LARGEST_PAGE_BYTES and not response.content.at_eof():
                    body += await response.content.read(_LARGEST_PAGE_BYTES)
            if len(body) > _LARGEST_PAGE_BYTES:
                return _Page(target, None, f"{target.url} is larger than {_LARGEST_PAGE_BYTES} B")
            samples = await asyncio.to_thread(parse, body.decode(), target, self._scrapes.wanted)
        except TimeoutError:
            deadline = f"{self._config.deadline_seconds:g} s (metrics.deadline_seconds)"
            return _Page(target, None, f"{target.url} did not answer within {deadline}")
        except aiohttp.ClientResponseError as error:
            hint = ": check metrics.access" if error.status in (401, 403) else ""
            answer = f"{error.status} {error.message}{hint}"
            return _Page(target, None, f"{target.url} answered {answer}")
        except (aiohttp.ClientError, OSError) as error:
            return _Page(target, None, f"{target.url} cannot be read: {error}")
        except (ValueError, KeyError, IndexError) as error:
            return _Page(target, None, f"{target.url} shows no Prometheus text: {error}")
        return _Page(target, samples, late_seconds=late_seconds)

    def _record(self, pages: Sequence[_Page], at_seconds: float) -> None:
        self._scrapes.retain(page.target.url for page in pages)
        for page in pages:
            up = ("up", page.target.labels, float(page.samples is not None))
            self._scrapes.record(
                page.target.url, at_seconds, (up, *(page.samples or ())), page.late_seconds
            )


def _name(line: str) -> str | None:
    found = _LEADING_NAME.match(line)
    return found[1] if found else None


_LEADING_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)")


def parse(text: str, target: Target, wanted: frozenset[str]) -> Scraped:
    """Read the samples of wanted metrics; labels on the page win over the target's.

    Most of a page is not wanted, and finding that out is quicker than parsing it. A page without
    anything wanted is parsed as a whole, because it may be none of metrics.
    """
    kept = [line for line in text.split("\n") if _name(line) in wanted]
    return tuple(
        (
            sample.name,
            frozenset({**dict(target.labels), **sample.labels}.items()),
            float(sample.value),
        )
        for family in text_string_to_metric_families("\n".join([*kept, ""]) if kept else text)
        for sample in family.samples
        if sample.name in wanted
    )
