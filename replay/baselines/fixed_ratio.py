"""Decode throughput scales both pools at a fixed ratio: HeteroScale's way (arXiv 2508.19559)."""

from __future__ import annotations

import math

from pydantic import Field, NonNegativeFloat, PositiveFloat

from policies.types import Observation, PerRole, PoolState
from replay.baselines.replica import Replica, load_now
from replay.baselines.rule import Knobs
from replay.scene import Scene
from replay.sizing import peak_pair


class RatioKnobs(Knobs):
    """Band, emergency and its step as in a public re-implementation.

    The paper's own decode pools ran at 82% utilisation.
    """

    target_fraction: float = Field(
        default=0.82, gt=0, le=1, description="of a replica's tokens/s within the ITL objective"
    )
    band_fraction: NonNegativeFloat = 0.1
    emergency_factor: PositiveFloat = Field(
        default=1.2, description="ITL over the objective by this factor adds `emergency_step`"
    )
    emergency_step_fraction: PositiveFloat = 0.2
    prefill_per_decode: PositiveFloat | None = Field(
        default=None, description="unset: the ratio that the trace's own peak needs (hindsight)"
    )


class FixedRatio:
    """decode = tokens/s over the target per replica; prefill = ratio * decode."""

    def __init__(self, scene: Scene, knobs: RatioKnobs) -> None:
        self._profile, self._slo, self._knobs = scene.profile, scene.settings.slo, knobs
        ratio = knobs.prefill_per_decode
        if ratio is None:
            peak = peak_pair(scene.trace, scene.profile, scene.settings)
            ratio = peak.prefill / peak.decode
        self._ratio = ratio

    def size(
        self,
        seen: Observation,
        pools: PerRole[PoolState],
        now_seconds: float,  # noqa: ARG002 - a rule's signature
    ) -> PerRole[int | None]:
        """Follow decode throughput outside the band; latency only in an emergency."""
        now = load_now(seen, self._profile)
        if now is None:
            return PerRole(None, None)
        load, shape = now
        knobs, current = self._knobs, pools.decode.desired_replicas
        each = Replica.under(self._profile, self._slo, shape).tokens_per_second_within_slo
        wanted = load.decode_tokens_per_second * knobs.headroom / (each * knobs.target_fraction)
        decode = current
        if abs(wanted / current - 1) > knobs.band_fraction:
            decode = max(1, math.ceil(wanted))
        itl = seen.itl.mean_seconds
        if itl is not None and itl > knobs.emergency_factor * self._slo.itl_seconds:
            decode = max(decode, math.ceil(current * (1 + knobs.emergency_step_fraction)))
        return PerRole(max(1, math.ceil(self._ratio * decode - 1e-9)), decode)
