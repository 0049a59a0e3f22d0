"""How long the scrape source takes to read a fleet's pages. Prints JSON; no test depends on it."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path

from aiohttp import web

from planner.metrics.config import MetricsConfig, make_source
from planner.metrics.exposition import FleetCollector, FleetGauges, pod_pages
from policies.types import PerRole
from replay.tally import Tally

OBSERVATIONS = 5
LINES = 800  # of a page: what presets read, and what they do not
GAUGES = FleetGauges(
    waiting_requests=PerRole(6.0, 2.0),
    running_requests=PerRole(3.0, 96.0),
    ready_replicas=PerRole(1, 1),
    kv_usage_fraction=0.5,
    kv_transfer_backlog_requests=5.0,
)


def pages_of_roles() -> dict[str, str]:
    """One full-length page for a prefill and one for a decode pod, as vLLM shows them."""
    collector = FleetCollector(lambda: (Tally(), GAUGES), "m", "vllm")
    pages = {}
    for pod, shown in pod_pages(collector).items():
        text = shown.decode()
        unread = "".join(
            f'vllm:unread_bucket{{model_name="m",le="{edge}"}} {edge}\n'
            for edge in range(LINES - text.count("\n"))
        )
        pages[pod.removesuffix("-0")] = text + unread
    return pages


async def measure(pods: int) -> dict[str, float]:
    """Serve the pages of `pods` pods on loopback and observe them a few times."""
    pages = pages_of_roles()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=pages[request.match_info["role"]])

    app = web.Application()
    app.router.add_get("/{role}/{number}/metrics", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    targets = [
        {"url": f"{address}/{role}/{i}/metrics", "pod": f"{role}-{i}"}
        for i in range(pods // 2)
        for role in pages
    ]
    source = make_source(
        MetricsConfig.model_validate(
            {"source": "scrape", "scrape": {"pages": targets}, "preset": "vllm", "model": "m"}
        )
    )
    took = []
    for tick in range(OBSERVATIONS):
        start = time.perf_counter()
        await source.observe(15.0 * tick)
        took.append(time.perf_counter() - start)
    await source.close()
    await runner.cleanup()
    return {"pods": pods, "lines": LINES, "seconds_median": round(sorted(took)[len(took) // 2], 3)}


def main() -> None:
    """Measure fleets of several sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, help="where to write; default: stdout")
    output = parser.parse_args().output
    text = json.dumps([asyncio.run(measure(pods)) for pods in (20, 200)], indent=2)
    if output:
        output.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
