"""Two loops that do not know each other, sized at utilisation 1: Dynamo's throughput scaling."""

from __future__ import annotations

import math

from pydantic import PositiveInt

from policies.types import Observation, PerRole, PoolState
from replay.baselines.replica import Replica, load_now
from replay.baselines.rule import Knobs
from replay.scene import Scene


class ThroughputKnobs(Knobs):
    """As read in Dynamo 1.6.1; its predictor `constant` takes the last interval for the next."""

    max_step_replicas: PositiveInt = 8
    max_batched_tokens: PositiveInt = 8192


class IndependentThroughput:
    """replicas = ceil(requests/s over the requests/s of one replica within its own objective).

    Neither queueing nor any target utilisation enters. While either role is changing both hold,
    except that a reduction wanted twice in a row passes.
    """

    def __init__(self, scene: Scene, knobs: ThroughputKnobs) -> None:
        self._profile, self._slo, self._knobs = scene.profile, scene.settings.slo, knobs
        self._wanted_before: PerRole[int] | None = None

    def size(
        self,
        seen: Observation,
        pools: PerRole[PoolState],
        now_seconds: float,  # noqa: ARG002 - a rule's signature
    ) -> PerRole[int | None]:
        """Divide the rate by what one replica sustains."""
        now = load_now(seen, self._profile)
        if now is None or seen.requests_per_second is None:
            return PerRole(None, None)
        replica = Replica.under(self._profile, self._slo, now[1])
        rate, step = seen.requests_per_second * self._knobs.headroom, self._knobs.max_step_replicas
        able = PerRole(
            prompts_per_second(replica, self._knobs.max_batched_tokens),
            replica.tokens_per_second_within_slo / replica.output_tokens,
        )
        wanted = able.zip(pools).map(
            lambda both: min(
                max(math.ceil(rate / both[0]), both[1].desired_replicas - step),
                both[1].desired_replicas + step,
            )
        )
        before, self._wanted_before = self._wanted_before, wanted
        if not changing(pools):
            return PerRole(*wanted)
        current = pools.map(lambda pool: pool.desired_replicas)
        if before is None:
            return PerRole(*current)
        return PerRole.of(lambda role: min(current[role], max(wanted[role], before[role])))


def prompts_per_second(replica: Replica, max_batched_tokens: int) -> float:
    """Best rate of one prefill replica over the batches whose time is within TTFT, else over all.

    Prompts of a batch run one after another in the token budget, so a batch shares only the base
    time of an iteration.
    """
    law = replica.profile.prefill
    hit = min(0.95, replica.prefix_hit_fraction)
    tokens = max(math.ceil(replica.input_tokens * (1 - hit)), 1)
    each = replica.prompt_seconds - law.base_seconds
    batches = range(1, max(1, max_batched_tokens // tokens) + 1)
    objective = replica.slo.ttft_objective_seconds(replica.input_tokens)
    seconds = {batch: law.base_seconds + batch * each for batch in batches}
    eligible = [batch for batch in batches if seconds[batch] <= objective] or list(batches)
    return max(batch / seconds[batch] for batch in eligible)


def changing(pools: PerRole[PoolState]) -> bool:
    """Whether replicas of either role are starting or leaving."""
    return any(pool.starting_replicas or pool.draining_replicas for pool in pools)
