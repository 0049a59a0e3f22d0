"""Token arrival rate over the velocity of each stage: TokenScale's way (arXiv 2512.03416)."""

from __future__ import annotations

import math

from policies.types import Observation, PerRole, PoolState
from replay.baselines.replica import Replica, load_now
from replay.baselines.rule import Knobs
from replay.scene import Scene


class TokenVelocity:
    """prefill = tokens/s over the slower of prefill and network; decode = tokens/s over decode.

    Its convertible decoders (a decode replica that prefills in a burst) are not modelled, and
    output lengths are means, not predictions per request.
    """

    def __init__(self, scene: Scene, knobs: Knobs) -> None:
        self._profile, self._slo, self._knobs = scene.profile, scene.settings.slo, knobs

    def size(
        self,
        seen: Observation,
        pools: PerRole[PoolState],  # noqa: ARG002 - a rule's signature
        now_seconds: float,  # noqa: ARG002 - a rule's signature
    ) -> PerRole[int | None]:
        """Divide the rate by the velocities."""
        now = load_now(seen, self._profile)
        if now is None or seen.requests_per_second is None:
            return PerRole(None, None)
        load, shape = now
        replica, link = Replica.under(self._profile, self._slo, shape), self._profile.transfer
        tokens_per_second = seen.requests_per_second * replica.input_tokens
        prefill = replica.input_tokens / replica.prompt_seconds
        network = link.bytes_per_second / link.bytes_per_token
        asked = PerRole(
            tokens_per_second / min(prefill, network),
            load.decode_tokens_per_second / replica.tokens_per_second_within_slo,
        )
        return asked.map(lambda replicas: max(1, math.ceil(replicas * self._knobs.headroom)))
