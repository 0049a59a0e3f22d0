"""The same requests through every simulator in one run: requests/s and latencies, as JSON.

python benchmarks/backends.py [--requests N] [-o FILE]
python benchmarks/backends.py --agreement      latencies side by side where the models agree or not

Wall seconds of one process, compiled code loaded beforehand. A backend that is not installed is
named with what it needs.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from policies.config import PolicySettings
from policies.profile import builtin
from policies.types import PerRole
from replay.backends import BACKENDS, BackendMissingError
from replay.physics import Physics, Reservation, Router
from replay.requests import Requests
from replay.scene import Scene
from replay.simulator import Static
from replay.traces import of_requests

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
REPLICAS = PerRole(8, 8)
REQUESTS_PER_SECOND = 160.0  # about half of what prefill sustains at 1,000 tokens
INPUT_TOKENS, OUTPUT_TOKENS = 1000.0, 200.0
SHOWN = ("ttft_p50_seconds", "ttft_p95_seconds", "itl_p50_seconds", "itl_p95_seconds")


def requests(count: int, per_second: float, input_tokens: float = INPUT_TOKENS) -> Requests:
    """Poisson arrivals with exponential lengths."""
    random = np.random.default_rng(0)
    return Requests(
        np.cumsum(random.exponential(1 / per_second, count)),
        np.ceil(random.exponential(input_tokens, count)),
        np.ceil(random.exponential(OUTPUT_TOKENS, count)),
        np.zeros(count),
    )


def plain() -> Physics:
    """What both simulators model alike: round-robin, no quadratic term, no fixed hand-off time."""
    physics = Physics.from_profile(
        PROFILE, startup_seconds=PerRole(60.0, 60.0), router=Router.ROUND_ROBIN
    )
    return replace(
        physics,
        prefill=replace(physics.prefill, seconds_per_squared_token=0.0),
        transfer=replace(physics.transfer, base_seconds=0.0),
    )


def scene(requests: Requests, physics: Physics, replicas: PerRole[int]) -> Scene:
    """These requests on a fixed fleet."""
    return Scene(
        trace=of_requests("poisson", requests),
        physics=physics,
        truth=PROFILE,
        profile=PROFILE,
        settings=PolicySettings(),
        initial=replicas,
        compiled=True,
    )


def cases() -> dict[str, Physics]:
    """Fleets that differ from `plain` in one way each."""
    same = plain()
    prefill, transfer, decode = same.prefill, same.transfer, same.decode
    curved = replace(prefill, seconds_per_squared_token=PROFILE.prefill.seconds_per_squared_token)
    narrow = replace(transfer, egress_bytes_per_second=4e9, ingress_bytes_per_second=4e9)
    small = replace(decode, kv_capacity_tokens=60_000)
    return {
        "token budget, linear prefill": same,
        "one prompt at a time, quadratic prefill": replace(
            same, prefill=replace(curved, token_budget=0)
        ),
        "one central queue": replace(same, router=Router.LEAST_LOADED),
        "token budget, quadratic prefill": replace(same, prefill=curved),
        "4 ms fixed hand-off time": replace(same, transfer=replace(transfer, base_seconds=0.004)),
        "links of 4 GB/s": replace(same, transfer=narrow),
        "60,000 tokens of KV memory, ours reserved in full": replace(same, decode=small),
        "60,000 tokens of KV memory, ours optimistic": replace(
            same, decode=replace(small, reservation=Reservation.OPTIMISTIC)
        ),
    }


def agreement() -> Iterator[str]:
    """Rows of a Markdown table: ours / theirs in milliseconds."""
    yield "| 2+2 replicas, 25 requests/s | TTFT p50 | TTFT p95 | ITL p50 | ITL p95 |"
    yield "|---|---|---|---|---|"
    offered = requests(5000, 25.0, 3000.0)
    replicas = PerRole(2, 2)
    for name, physics in cases().items():
        staged = scene(offered, physics, replicas)
        ours, theirs = (play(staged, Static(replicas)).as_dict() for play in BACKENDS.values())
        cells = [
            " / ".join(f"{1000 * (score[key] or 0.0):.3g}" for score in (ours, theirs))
            for key in SHOWN
        ]
        yield f"| {name} | {' | '.join(cells)} |"


def measure(count: int) -> dict[str, dict[str, object]]:
    """Play fixed pools of 8+8 in each backend."""
    physics = Physics.from_profile(
        PROFILE, startup_seconds=PerRole(60.0, 60.0), router=Router.ROUND_ROBIN
    )
    few, many = (
        scene(requests(rows, REQUESTS_PER_SECOND), physics, REPLICAS) for rows in (100, count)
    )
    found: dict[str, dict[str, object]] = {}
    for name, play in BACKENDS.items():
        try:
            play(few, Static(REPLICAS))
            began = time.perf_counter()
            score = play(many, Static(REPLICAS)).as_dict()
        except BackendMissingError as error:
            found[name] = {"missing": str(error)}
            continue
        seconds = time.perf_counter() - began
        found[name] = {
            "requests": count,
            "wall_seconds": seconds,
            "requests_per_second": count / seconds,
            **{key: score[key] for key in SHOWN},
        }
    return found


def main() -> None:
    """Measure and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    parser.add_argument("--agreement", action="store_true", help="a table of latencies instead")
    options = parser.parse_args()
    if options.agreement:
        for row in agreement():
            sys.stdout.write(row + "\n")
        return
    result = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "profile": PROFILE.name,
        "replicas": f"{REPLICAS.prefill}+{REPLICAS.decode}",
        "backends": measure(options.requests),
    }
    text = json.dumps(result, indent=2) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        options.output.write_text(text)


if __name__ == "__main__":
    main()
