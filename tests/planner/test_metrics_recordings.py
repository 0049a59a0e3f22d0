"""Recorded pages of Dynamo 1.6.1, on a real server and through the scrape source.

Six requests went through a front end, a prefill and a decode worker. The repository has the series
that presets read; SAMPLES names a folder with the whole pages, where it is at hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from metrics_fleet import with_labels
from metrics_pages import read

from planner.metrics.config import MetricsConfig, make_source
from policies.types import Observation, Trust

pytestmark = [pytest.mark.program("prometheus"), pytest.mark.program("promtool")]

RECORDINGS = Path(__file__).parent / "recordings"
SAMPLES = os.environ.get("SAMPLES")
NOW = 1_700_000_000.0
PODS = ("frontend-0", "prefill-0", "decode-0")


def of_the_repository() -> dict[str, str]:
    return {
        pod: (RECORDINGS / f"dynamo-1.6.1-{pod.removesuffix('-0')}.txt").read_text() for pod in PODS
    }


def of_the_samples() -> dict[str, str]:
    """Two files; that of the workers holds one page after another, each after a line of `====`."""
    folder = Path(SAMPLES or "")
    workers = (folder / "dynamo_worker_metrics.txt").read_text().split("# ====")[1:]
    pages = [(folder / "dynamo_frontend_metrics.txt").read_text(), *map(_after_title, workers)]
    return dict(zip(PODS, pages, strict=True))


def _after_title(page: str) -> str:
    return page.partition("\n")[2]


def at_the_start(page: str) -> str:
    """The page before anything was counted."""
    lines = [
        line if line.startswith("#") or not line else f"{line.rsplit(' ', 1)[0]} 0"
        for line in page.splitlines()
    ]
    return "\n".join([*lines, ""])


recorded = pytest.mark.parametrize(
    "pages_of",
    [
        pytest.param(of_the_repository, id="repository"),
        pytest.param(
            of_the_samples,
            id="samples",
            marks=pytest.mark.skipif(
                SAMPLES is None, reason="SAMPLES names no folder with whole recorded pages"
            ),
        ),
    ],
)


async def observe(start_prometheus: Callable[..., str], pages: dict[str, str]) -> Observation:
    before = {pod: at_the_start(page) for pod, page in pages.items()}
    past = [
        (NOW - 15 * ago, with_labels(before if ago else pages), {"namespace": "llm"})
        for ago in (3, 2, 1, 0)
    ]
    config = MetricsConfig.model_validate(
        {
            "url": start_prometheus(past=past),
            "model": "tiny",
            "namespace": "llm",
            "window_seconds": 60,
        }
    )
    source = make_source(config)
    seen = await source.observe(NOW)
    await source.close()
    return seen


@recorded
async def test_six_requests_have_the_recorded_lengths_and_latencies(
    pages_of: Callable[[], dict[str, str]], start_prometheus: Callable[..., str]
) -> None:
    seen = await observe(start_prometheus, labelled(pages_of()))
    assert seen.requests_per_second is not None
    assert seen.requests_per_second > 0
    assert seen.requests_per_second == seen.finished_per_second
    assert seen.input_tokens is not None
    assert seen.input_tokens.mean == pytest.approx(4605 / 6)
    assert seen.output_tokens_mean == pytest.approx(24)
    assert seen.ttft.mean_seconds == pytest.approx(0.5712357 / 6)
    assert seen.itl.mean_seconds == pytest.approx(0.798920978 / 138)
    assert seen.prefix_hit_fraction == 0
    assert seen.kv_usage_fraction == 0
    assert list(seen.waiting_requests) == [0, 0]
    assert list(seen.running_requests) == [0, 0]
    assert list(seen.live_pods) == [1, 1]
    # The router says 0 s for each of twelve transfers, so their time is unknown.
    assert seen.kv_transfer.mean_seconds is None
    assert seen.kv_transfer_backlog_requests is None
    assert seen.trust is Trust.FULL


def labelled(pages: dict[str, str]) -> dict[str, str]:
    """Pages whose series name their pod, as a PodMonitor would have them."""
    found = {}
    for pod, page in pages.items():
        lines = [
            line if line.startswith("#") or not line else _with_pod(line, pod)
            for line in page.splitlines()
        ]
        found[pod] = "\n".join([*lines, ""])
    return found


def _with_pod(line: str, pod: str) -> str:
    name, brace, rest = line.partition("{")
    if brace:
        return f'{name}{{pod="{pod}",{rest}'
    name, _, value = line.rpartition(" ")
    return f'{name}{{pod="{pod}"}} {value}'


@recorded
def test_pages_seen_again_and_again_are_those_of_an_idle_fleet(
    pages_of: Callable[[], dict[str, str]],
) -> None:
    pages = pages_of()
    reading = read("dynamo", [(0.0, pages), (15.0, pages), (30.0, pages)])
    seen = reading.observation(30.0, 60.0, ())
    assert seen.requests_per_second == seen.finished_per_second == 0
    assert seen.ttft.mean_seconds is seen.itl.mean_seconds is seen.output_tokens_mean is None
    assert reading.rank("decode_waiting_requests") == 0
    # A mock engine shows no queue at prefill; what its worker holds stands in.
    assert reading.rank("prefill_waiting_requests") == 4
