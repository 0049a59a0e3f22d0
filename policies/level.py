"""The load offered now, freed of what chance alone does to a short window of requests."""

from __future__ import annotations

import math
from typing import NamedTuple

from forecasting.level import Windows
from policies.config import PolicySettings
from policies.demand import LOADS, Followed, Load, Shape
from policies.memory import Memory
from policies.types import PerRole, Role


class Levels(NamedTuple):
    """The load now, and what it surely rises to until a replica started now is ready.

    `newest` is the mean of the newest window; `noise_fractions`, in the order of `LOADS`, are the
    standard deviations that chance gives a mean over minutes, as shares of it. `falling` are the
    roles whose load surely falls.
    """

    now: Load
    ahead: Load
    newest: Load
    noise_fractions: tuple[float, ...] = (0.0,) * len(LOADS)
    falling: PerRole[bool] = PerRole(prefill=False, decode=False)

    def surging(self, factor: float) -> Levels:
        """The same where `factor` times as much arrives as the newest window shows."""
        most = [max(load.value(self.ahead), factor * load.value(self.newest)) for load in LOADS]
        return self._replace(ahead=Load.of(most))


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

    def windows(followed: Followed, cv2: float) -> Windows:
        averaged_seconds = stay_seconds if followed.role is Role.DECODE else 0.0
        width = max(window_seconds + averaged_seconds, 1.0)
        return Windows.of(
            memory.seconds,
            memory.history(followed.value),
            averaged_seconds=averaged_seconds,
            window_seconds=width,
            noise_fraction=math.sqrt((dispersion + cv2) / (requests_per_second * width)),
        )

    def risen(followed: Followed, cv2: float, seen: Windows) -> float:
        """What the load surely rises to; bursts are no chance then, but what to be ready for."""
        share = math.sqrt((1.0 + cv2) / (dispersion + cv2)) if dispersion > 1.0 else 1.0
        return seen.risen(settings.roles[followed.role].startup_seconds, share)

    spreads = _work_cv2(memory.shape)
    found = [windows(load, cv2) for load, cv2 in zip(LOADS, spreads, strict=True)]
    steady = {load.role for load, seen in zip(LOADS, found, strict=True) if not seen.falls}
    return Levels(
        now=Load.of(seen.level for seen in found),
        ahead=Load.of(map(risen, LOADS, spreads, found)),
        newest=memory.loads[-1],
        noise_fractions=tuple(seen.least_noise_fraction for seen in found),
        falling=PerRole.of(lambda role: role not in steady),
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
