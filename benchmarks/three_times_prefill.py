"""Draw docs/images/three-times-prefill.png: what more prefill does without more decode.

python benchmarks/three_times_prefill.py
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from policies.profile import builtin
from policies.types import PerRole
from replay.physics import Physics
from replay.plant import Plant
from replay.requests import Requests

mpl.use("agg")

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "three-times-prefill.png"
WIDTHS = (3.0, 1.0, 1.0)  # so that equal curves can both be seen
COLOURS = ("darkgrey", "tab:red", "tab:blue")
Floats = NDArray[np.float64]


def fleet(link_bytes_per_second: float) -> Physics:
    """Llama 3 8B with 400,000 tokens of KV memory, on links of a given bandwidth."""
    profile = builtin("llama-3-8b-h100-fp8-tp1")
    physics = Physics.from_profile(profile, startup_seconds=PerRole(0.0, 0.0))
    return replace(
        physics,
        prefill=replace(physics.prefill, kv_capacity_tokens=400_000),
        transfer=replace(
            physics.transfer,
            egress_bytes_per_second=link_bytes_per_second,
            ingress_bytes_per_second=link_bytes_per_second,
            transfers_per_replica=64,
        ),
        decode=replace(physics.decode, kv_capacity_tokens=400_000),
    )


def fan_outs() -> Requests:
    """Bursts of 40 equal prompts of 4,000 tokens."""
    random = np.random.default_rng(7)
    starts = np.repeat(np.cumsum(random.exponential(8.0, 15)), 40)
    tokens = np.full(len(starts), 4000.0)
    return Requests.of(starts, tokens, np.ceil(random.exponential(200, len(starts))))


def crowd() -> Requests:
    """20 requests/s, and 45 between the first and the third minute; 1,000 and 800 tokens."""
    random = np.random.default_rng(7)
    seconds = np.arange(240)
    arrivals = np.repeat(
        seconds, random.poisson(np.where((seconds >= 60) & (seconds < 180), 45, 20))
    )
    arrivals = np.sort(arrivals + random.random(len(arrivals)))
    count = len(arrivals)
    return Requests.of(
        arrivals,
        np.ceil(random.exponential(1000, count)),
        np.ceil(random.exponential(800, count)),
    )


def watch(
    physics: Physics, replicas: PerRole[int], requests: Requests
) -> tuple[Floats, Floats, Floats]:
    """Instants, the KV backlog at each, and the TTFT of every request."""
    plant = Plant(physics, replicas)
    plant.offer(requests)
    instants = np.arange(0.0, requests.arrival_seconds[-1] + 10, 0.1)
    backlog = []
    for instant in instants:
        plant.advance(instant)
        backlog.append(plant.snapshot().transfer_backlog_tokens)
    plant.advance(instants[-1] + 1000)
    return instants, np.array(backlog), plant.take_first_tokens().ttft_seconds


def draw(
    axes: tuple[Axes, Axes], physics: Physics, sizes: tuple[PerRole[int], ...], requests: Requests
) -> None:
    """Backlog over time above, the distribution of TTFT below, a colour per size of the fleet."""
    above, below = axes
    for replicas, colour, width in zip(sizes, COLOURS, WIDTHS, strict=True):
        instants, backlog, ttft = watch(physics, replicas, requests)
        name = f"{replicas.prefill} prefill + {replicas.decode} decode"
        above.plot(instants, backlog / 1000, color=colour, label=name, linewidth=width)
        below.ecdf(ttft, color=colour, label=f"mean {ttft.mean():.2f} s", linewidth=width)
    above.set_ylabel("KV backlog, thousand tokens")
    above.set_xlabel("seconds")
    above.legend()
    below.set_ylabel("share of requests")
    below.set_xlabel("TTFT at the user, seconds")
    below.legend()


def main() -> None:
    """Draw both cases side by side."""
    argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0]).parse_args()

    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(12, 7), layout="constrained")
    grid[0][0].set_title("Bursts of equal prompts on 50 Gb/s links: worse")
    sizes = (PerRole(2, 2), PerRole(6, 2), PerRole(6, 6))
    draw((grid[0][0], grid[1][0]), fleet(5e9), sizes, fan_outs())
    grid[0][1].set_title("A crowd beyond decode memory: no better")
    sizes = (PerRole(1, 2), PerRole(3, 2), PerRole(1, 4))
    draw((grid[0][1], grid[1][1]), fleet(40e9), sizes, crowd())
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110)


if __name__ == "__main__":
    main()
