"""The load to be ready for: what may be offered by the time that a replica started now serves."""

from __future__ import annotations

from collections.abc import Callable

from forecasting.recent import recent_peak, trailing_mean
from policies.config import PolicySettings
from policies.demand import Load, Shape
from policies.memory import Memory


def outlook(memory: Memory, shape: Shape, settings: PolicySettings, now_seconds: float) -> Load:
    """Peak of each load over its role's start-up time, decode averaged over residence first.

    A sequence of 2,000 tokens at 40 ms stays in decode for 80 s, so arrivals that come and go
    within that time never meet there: the batch follows the average over the residence time.
    NaN when the memory holds no load within the window.
    """
    lead = settings.roles.map(
        lambda role: max(role.startup_seconds, settings.demand_window_seconds)
    )
    seconds = memory.seconds_array()
    residence_seconds = shape.output_tokens_mean * settings.slo.itl_seconds

    def peak(value: Callable[[Load], float], lead_seconds: float, stay_seconds: float) -> float:
        values = trailing_mean(seconds, memory.history(value), stay_seconds)
        return recent_peak(seconds, values, now_seconds, lead_seconds)

    return Load(
        prefill_erlangs=peak(lambda load: load.prefill_erlangs, lead.prefill, 0.0),
        decode_tokens_per_second=peak(
            lambda load: load.decode_tokens_per_second, lead.decode, residence_seconds
        ),
        kv_token_steps_per_second=peak(
            lambda load: load.kv_token_steps_per_second, lead.decode, residence_seconds
        ),
    )
