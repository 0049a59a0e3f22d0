"""The demand that a memory missed, filled in at the start from what the metrics server keeps."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import structlog

from planner.config import Config
from planner.metrics.config import MetricsConfig
from planner.metrics.past import Past, read_demand
from planner.ports import Clock
from policies.engine import Engine
from policies.memory import Memory

log = structlog.get_logger(__name__)

# A warm start is worth a minute without decisions, and no more.
_LONGEST_SECONDS = 60.0

ReadDemand = Callable[[MetricsConfig, float, float, float, float], Awaitable[Past]]


async def warm_start(
    config: Config, engine: Engine, memory: Memory, clock: Clock, read: ReadDemand = read_demand
) -> Memory:
    """Return the memory with that past; as it is where the past cannot be read in time."""
    now = clock.now_seconds()
    newest = memory.seconds[-1] if memory.seconds else -math.inf
    step, cv = config.policy.forecast.step_seconds, config.policy.input_length_cv
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            past = await read(config.metrics, newest, now, step, cv)
        for problem in past.problems:
            log.warning("starting without the past", why=problem)
        return engine.remember(past.observations, memory)
    except TimeoutError:
        why = f"it takes more than {_LONGEST_SECONDS:g} s"
        log.warning("starting without the past", why=why)
    except Exception:  # an odd day in the past must not keep the service from starting
        log.exception("starting without the past")
    return memory
