"""The load offered now, freed of what chance alone does to a short window of requests."""

from __future__ import annotations

import math
from typing import NamedTuple

from forecasting.level import Windows
from policies.config import PolicySettings
from policies.demand import LOADS, Followed, Load, Shape
from policies.memory import Memory
from policies.types import Role


class Levels(NamedTuple):
    """The load now, and what it surely rises to until a replica started now is ready.

    `newest` is the mean of the newest window; `noise_fraction` the standard deviation that chance
    gives a mean over minutes, as a share of it.
    """

    now: Load
    ahead: Load
    newest: Load
    noise_fraction: float = 0.0

    def surging(self, factor: float) -> Levels:
        """The same where `factor` times as much arrives as the newest window shows."""
        most = {
            load.name: max(load.value(self.ahead), factor * load.value(self.newest))
            for load in LOADS
        }
        return self._replace(ahead=Load(**most))


def levels_of(memory: Memory, settings: PolicySettings, window_seconds: float) -> Levels:
    """Levels of each load, from the loads in memory; each of them is a mean over the window.

    Decode load is first averaged over the time a request resides there: a sequence of 2,000 tokens
    at 40 ms stays for 80 s, and arrivals that come and go within that time never meet in a batch.
    """
    if memory.shape is None:
        newest = memory.loads[-1]
        return Levels(newest, newest, newest)
    dispersion = memory.dispersion(settings.arrival_dispersion)
    stay_seconds = memory.stay_seconds(settings.slo.itl_seconds)
    requests_per_second = max(memory.arrivals[-1], 1e-3)

    def windows(followed: Followed, work_cv2: float) -> Windows:
        averaged_seconds = stay_seconds if followed.role is Role.DECODE else 0.0
        width = max(window_seconds + averaged_seconds, 1.0)
        return Windows.of(
            memory.seconds,
            memory.history(followed.value),
            averaged_seconds=averaged_seconds,
            window_seconds=width,
            noise_fraction=math.sqrt((dispersion + work_cv2) / (requests_per_second * width)),
        )

    found = {
        load: windows(load, cv2) for load, cv2 in zip(LOADS, _work_cv2(memory.shape), strict=True)
    }
    leads = settings.roles.map(lambda role: role.startup_seconds)
    return Levels(
        now=Load(**{load.name: seen.level for load, seen in found.items()}),
        ahead=Load(**{load.name: seen.risen(leads[load.role]) for load, seen in found.items()}),
        newest=memory.loads[-1],
        noise_fraction=max(seen.least_noise_fraction for seen in found.values()),
    )


def _work_cv2(shape: Shape) -> tuple[float, float, float]:
    """Squared coefficient of variation of one request's share in each load.

    Prefill work is taken to vary as prompt lengths do. Token steps of an answer are O (I + O/2).
    """
    i1, i2, _, _ = shape.prompt_tokens.moments
    o1, o2, o3, o4 = shape.output_tokens.moments
    return (
        _cv2(i1, i2),
        _cv2(o1, o2),
        _cv2(o1 * i1 + o2 / 2, o2 * i2 + o3 * i1 + o4 / 4),
    )


def _cv2(first: float, second: float) -> float:
    return max(second / first**2 - 1.0, 0.0) if first**2 > 0 else 0.0
