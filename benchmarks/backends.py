"""The same requests through every simulator in one run: requests/s and latencies, as JSON.

python benchmarks/backends.py [--requests N] [-o FILE]

Wall seconds of one process, compiled code loaded beforehand. A backend that is not installed is
named with what it needs.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from pathlib import Path

import numpy as np

from policies.config import PolicySettings
from policies.profile import builtin
from policies.types import PerRole
from replay.backends import BACKENDS, BackendMissingError
from replay.physics import Physics, Router
from replay.requests import Requests
from replay.scene import Scene
from replay.simulator import Static
from replay.traces import of_requests

PROFILE = builtin("llama-3-8b-h100-fp8-tp1")
REPLICAS = PerRole(8, 8)
REQUESTS_PER_SECOND = 160.0  # about half of what prefill sustains at 1,000 tokens
INPUT_TOKENS, OUTPUT_TOKENS = 1000.0, 200.0
SHOWN = ("ttft_p50_seconds", "ttft_p95_seconds", "itl_p50_seconds", "itl_p95_seconds")


def scene(count: int) -> Scene:
    """Poisson arrivals with exponential lengths on a fixed fleet."""
    random = np.random.default_rng(0)
    requests = Requests(
        np.cumsum(random.exponential(1 / REQUESTS_PER_SECOND, count)),
        np.ceil(random.exponential(INPUT_TOKENS, count)),
        np.ceil(random.exponential(OUTPUT_TOKENS, count)),
        np.zeros(count),
    )
    return Scene(
        trace=of_requests("poisson", requests),
        physics=Physics.from_profile(
            PROFILE, startup_seconds=PerRole(60.0, 60.0), router=Router.ROUND_ROBIN
        ),
        truth=PROFILE,
        profile=PROFILE,
        settings=PolicySettings(),
        initial=REPLICAS,
        compiled=True,
    )


def measure(count: int) -> dict[str, dict[str, object]]:
    """Play the scene in each backend."""
    found: dict[str, dict[str, object]] = {}
    for name, play in BACKENDS.items():
        try:
            play(scene(100), Static(REPLICAS))
            began = time.perf_counter()
            score = play(scene(count), Static(REPLICAS)).as_dict()
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
    options = parser.parse_args()
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
