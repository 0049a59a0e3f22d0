"""The dynamo preset against Dynamo's own front end and mock workers, through both sources.

Skipped where neither `make dynamo` installed them nor DYNAMO_PYTHON names who has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from dynamo_stack import INTERPRETER, MODEL, Stack, running

from planner.__main__ import main
from planner.metrics.config import MetricsConfig, make_source
from policies.types import Observation, PerRole, Trust

pytestmark = [
    pytest.mark.skipif(
        INTERPRETER is None,
        reason="needs Dynamo's front end and mock workers in an environment of their own: "
        "make dynamo",
    ),
    pytest.mark.program("prometheus"),
    pytest.mark.timeout(180),
    pytest.mark.slow,
    pytest.mark.xdist_group("dynamo"),  # one stack for all, and the machine not to share
]

WINDOW_SECONDS = 8.0
PROMPT_TOKENS = 1000  # of one byte each
OUTPUT_TOKENS = 120  # 0.7 s each, so that some are always in a batch when a gauge is read


@dataclass(frozen=True, slots=True)
class Scene:
    """The running stack, and a Prometheus that scrapes it every second."""

    stack: Stack
    prometheus: str

    def by_prometheus(self) -> MetricsConfig:
        return self._config(url=self.prometheus)

    def by_scrape(self) -> MetricsConfig:
        pages = [
            {"url": f"http://{address}/metrics", "pod": pod}
            for pod, address in self.stack.pages.items()
        ]
        return self._config(source="scrape", scrape={"pages": pages})

    @staticmethod
    def _config(**source: object) -> MetricsConfig:
        common = {"model": MODEL, "namespace": "llm", "window_seconds": WINDOW_SECONDS}
        return MetricsConfig.model_validate({**common, **source})


@pytest.fixture(scope="module")
def scene(
    tmp_path_factory: pytest.TempPathFactory, start_prometheus: Callable[..., str]
) -> Iterator[Scene]:
    """Prefill runs at half its speed, so that long prompts overload it."""
    with running(tmp_path_factory.mktemp("dynamo"), prefill_speed=0.5) as stack:
        targets = [
            {"targets": [address], "labels": {"pod": pod, "namespace": "llm"}}
            for pod, address in stack.pages.items()
        ]
        url = start_prometheus(scrape_configs=[{"job_name": "llm", "static_configs": targets}])
        yield Scene(stack, url)


@dataclass(slots=True)
class Load:
    """Requests that a test sends, and what their sender saw of them."""

    address: str
    fresh: bool  # whether no two prompts share a prefix
    sent: int = 0
    ended: int = 0
    ttft_seconds: list[float] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def inside(self) -> int:
        return self.sent - self.ended

    async def offer(self, session: aiohttp.ClientSession, per_second: float, tokens: int) -> None:
        """Send prompts at a steady rate until cancelled."""
        start = time.monotonic()  # noqa: TID251 - the stack lives now
        while True:
            self.tasks.append(asyncio.create_task(self._one(session, tokens)))
            self.sent += 1
            due = start + len(self.tasks) / per_second
            await asyncio.sleep(due - time.monotonic())  # noqa: TID251 - the same

    async def _one(self, session: aiohttp.ClientSession, tokens: int) -> None:
        prompt = (secrets.token_hex(8) if self.fresh else "again").ljust(tokens, ".")
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": prompt}],
            "stream": True,
            "max_tokens": OUTPUT_TOKENS,
            "ignore_eos": True,
        }
        start = time.monotonic()  # noqa: TID251 - the same
        async with session.post(f"{self.address}/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            await answer.content.readuntil(b"data:")
            self.ttft_seconds.append(time.monotonic() - start)  # noqa: TID251 - the same
            await answer.read()
        self.ended += 1


@contextlib.asynccontextmanager
async def offering(
    stack: Stack, per_second: float, tokens: int, *, fresh: bool = True
) -> AsyncIterator[Load]:
    """Offer load while the block runs; then let what is inside end."""
    load = Load(stack.address, fresh)
    async with aiohttp.ClientSession() as session:
        await _until_served(session, stack.address)
        sender = asyncio.create_task(load.offer(session, per_second, tokens))
        try:
            yield load
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sender
            await asyncio.gather(*load.tasks)


async def _until_served(session: aiohttp.ClientSession, address: str) -> None:
    for _ in range(300):
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"{address}/v1/models") as answer:
                if (await answer.json())["data"]:
                    return
        await asyncio.sleep(0.1)
    pytest.fail("Dynamo lists no model after 30 s")


async def observe_for(seconds: float, config: MetricsConfig) -> Observation:
    """Observe once a second and return the last; rates want a window full of samples."""
    source = make_source(config)
    try:
        for _ in range(round(seconds)):
            await asyncio.sleep(1.0)
            seen = await source.observe(time.time())  # noqa: TID251 - the same
    finally:
        await source.close()
    return seen


async def observe_both(scene: Scene, seconds: float) -> tuple[Observation, Observation]:
    return await asyncio.gather(
        observe_for(seconds, scene.by_prometheus()), observe_for(seconds, scene.by_scrape())
    )


async def test_a_steady_load_is_seen_as_it_was_sent(scene: Scene) -> None:
    async with offering(scene.stack, per_second=6, tokens=PROMPT_TOKENS) as load:
        both = await observe_both(scene, seconds=WINDOW_SECONDS + 4)
        recent = load.ttft_seconds[-40:]
    for seen in both:
        assert seen.trust is Trust.FULL
        assert seen.problems == ()
        assert seen.requests_per_second == pytest.approx(6, rel=0.1)
        assert seen.finished_per_second == pytest.approx(6, rel=0.15)
        assert seen.input_tokens is not None
        assert seen.input_tokens.mean == pytest.approx(PROMPT_TOKENS)
        assert seen.output_tokens_mean == pytest.approx(OUTPUT_TOKENS)
        assert seen.prefix_hit_fraction == 0
        assert seen.ttft.mean_seconds == pytest.approx(sum(recent) / len(recent), rel=0.3)
        assert seen.itl.mean_seconds == pytest.approx(0.006, rel=0.5)
        assert seen.kv_usage_fraction is not None
        assert 0 < seen.kv_usage_fraction < 0.1
        assert list(seen.live_pods) == [1, 2]
        assert [quality.coverage_fraction for quality in seen.pool_quality] == [1.0, 1.0]
        # The router was not told to measure transfers, and says 0 s for each.
        assert seen.kv_transfer.mean_seconds is None


async def test_an_overload_of_prefill_is_seen_as_arrivals_and_as_its_queue(scene: Scene) -> None:
    """Prompts four times as long: prefill ends about 6 of 10 a second, and the others wait."""
    async with offering(scene.stack, per_second=10, tokens=4 * PROMPT_TOKENS) as load:
        by_prometheus, by_scrape = await observe_both(scene, seconds=WINDOW_SECONDS + 4)
        inside = load.inside
    assert inside > 20
    for seen in (by_prometheus, by_scrape):
        assert seen.requests_per_second == pytest.approx(10, rel=0.1)
        assert seen.finished_per_second is not None
        assert seen.finished_per_second < 8
        waiting, running = seen.waiting_requests, seen.running_requests
        assert isinstance(waiting, PerRole)
        # A scrape is up to a second old: ten requests.
        assert sum(waiting) + sum(running) == pytest.approx(inside, abs=12)
        assert waiting.prefill > 0.8 * inside
        assert waiting.decode < 0.2 * inside
        assert seen.trust is Trust.FULL


async def test_prompts_seen_before_are_hits_of_the_prefix_cache(scene: Scene) -> None:
    """Answers report no cached tokens then; the router and the engines know better."""
    async with offering(scene.stack, per_second=6, tokens=PROMPT_TOKENS, fresh=False):
        seen = await observe_for(WINDOW_SECONDS + 4, scene.by_prometheus())
    assert seen.prefix_hit_fraction is not None
    # Blocks hold 64 tokens: of 1,000 the first 15 blocks can be found again.
    assert seen.prefix_hit_fraction == pytest.approx(0.96, abs=0.02)


async def test_check_finds_the_preset_and_the_version(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "planner.yaml"
    file.write_text(
        f"metrics: {{url: {scene.prometheus}, model: {MODEL}, namespace: llm, preset: vllm-llmd}}\n"
        "workload: {namespace: llm, prefill: {kind: Deployment, name: p}, "
        "decode: {kind: Deployment, name: d}}\n"
    )
    async with offering(scene.stack, per_second=6, tokens=PROMPT_TOKENS):
        await observe_for(WINDOW_SECONDS, scene.by_prometheus())
        code = await asyncio.to_thread(main, ["check", "--metrics-only", "-c", str(file)])
    text = capsys.readouterr().out
    assert code == 1
    assert "metrics.preset: dynamo" in text
    assert "Dynamo 1.x, arrivals counted" in text
