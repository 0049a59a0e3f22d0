"""Two loops that do not know each other, one replica at a time: Dynamo's load scaling."""

from __future__ import annotations

from pydantic import Field

from policies.demand import shape_of
from policies.types import Observation, PerRole, PoolState
from replay.baselines.replica import Replica
from replay.baselines.rule import Knobs
from replay.scene import Scene


class LoadKnobs(Knobs):
    """As read in Dynamo 1.6.1."""

    sensitivity_fraction: float = Field(
        default=0.8, gt=0, le=1, description="share of the objective to keep after scaling in"
    )


class IndependentLoad:
    """One replica more or less at a time, each role by its own latency estimated now.

    More when it is over the objective, less when it would stay below 0.8 of it with one replica
    less; both roles hold while either changes. Dynamo asks every worker; here replicas share their
    queue, so the pool's mean stands for each.
    """

    def __init__(self, scene: Scene, knobs: LoadKnobs) -> None:
        self._profile, self._slo, self._knobs = scene.profile, scene.settings.slo, knobs

    def size(
        self,
        seen: Observation,
        pools: PerRole[PoolState],
        now_seconds: float,  # noqa: ARG002 - a rule's signature
    ) -> PerRole[int | None]:
        """Step each role by its own estimate."""
        current = pools.map(lambda pool: pool.desired_replicas)
        shape = shape_of(seen, None)
        if shape is None or any(p.starting_replicas or p.draining_replicas for p in pools):
            return PerRole(*current)
        replica = Replica.under(self._profile, self._slo, shape)
        queued = seen.waiting_requests.prefill or 0.0
        sequences = (seen.waiting_requests.decode or 0.0) + (seen.running_requests.decode or 0.0)
        steps = PerRole(
            self._prefill_step(replica, queued, current.prefill),
            self._decode_step(replica, sequences, current.decode),
        )
        return current.zip(steps).map(sum)

    def _prefill_step(self, replica: Replica, queued: float, count: int) -> int:
        objective = self._slo.ttft_objective_seconds(replica.input_tokens) / self._knobs.headroom
        own = replica.prompt_seconds
        queue_seconds = queued * own / count
        if queue_seconds + own > objective:
            return 1
        if count == 1:
            return 0
        after = queue_seconds * count / (count - 1)
        return -1 if after < (objective - own) * self._knobs.sensitivity_fraction else 0

    def _decode_step(self, replica: Replica, sequences: float, count: int) -> int:
        objective = self._slo.itl_seconds / self._knobs.headroom
        batch = sequences / count
        if replica.iteration_seconds(batch + 1) > objective or batch + 1 > replica.largest_batch:
            return 1
        if count == 1:
            return 0
        after = sequences / (count - 1)
        fits = after + 1 <= replica.largest_batch
        quick = replica.iteration_seconds(after) < objective * self._knobs.sensitivity_fraction
        return -1 if fits and quick else 0
