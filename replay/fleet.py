"""A simulated fleet fed by a trace: everything a planner can see of one, and do to it."""

from __future__ import annotations

from collections.abc import Iterator

from policies.config import Slo
from policies.types import Observation, PerRole, PoolState, Role
from replay.meter import Meter
from replay.plant import Plant, Snapshot
from replay.requests import Requests
from replay.scoring import Score, Scorer
from replay.tally import Tally

# What happens in one step is metered as of its end, so steps are short against the window.
_STEP_WINDOWS = 1 / 6
# After the last arrival the fleet is looked at this often, to see when it has finished.
_END_STEP_SECONDS = 1.0


class Fleet:
    """Plays a stream of requests into a plant, measures it and keeps the score."""

    def __init__(
        self, plant: Plant, chunks: Iterator[Requests], slo: Slo, *, window_seconds: float = 60.0
    ) -> None:
        self._plant = plant
        self._start_seconds = plant.now_seconds
        self._chunks = chunks
        self._ahead = Requests.of((), (), ())
        self.exhausted = False
        self._step_seconds = window_seconds * _STEP_WINDOWS
        self._meter = Meter(window_seconds, plant.now_seconds)
        self._scorer = Scorer(slo)
        self._offered_requests = 0
        self._scaling_events = 0
        self.tally = Tally()

    @property
    def now_seconds(self) -> float:
        """Time up to which the fleet has been advanced."""
        return self._plant.now_seconds

    def advance(self, until_seconds: float) -> None:
        """Let the fleet run; a time already reached changes nothing.

        Once nothing more can happen, time stands still: an idle end would be billed, and longer
        under a policy that decides less often.
        """
        while self.now_seconds < until_seconds and not self.finished:
            step_seconds = _END_STEP_SECONDS if self.exhausted else self._step_seconds
            self._advance_to(min(self.now_seconds + step_seconds, until_seconds))

    def _advance_to(self, until_seconds: float) -> None:
        arrived = self._arrivals(until_seconds)
        self._plant.offer(arrived)
        self._offered_requests += len(arrived)
        self._plant.advance(until_seconds)
        first, finished = self._plant.take_first_tokens(), self._plant.take_finished()
        self._meter.record(until_seconds, arrived, first, finished)
        self._scorer.finish(finished.ttft_seconds, finished.itl_seconds, finished.input_tokens)
        self.tally.arrive(arrived)
        self.tally.first_tokens(first.ttft_seconds)
        self.tally.finish(finished.itl_seconds, finished.output_tokens)

    def _arrivals(self, until_seconds: float) -> Requests:
        """Take the requests that arrive by then, reading the stream only as far as needed."""
        parts = []
        while not self.exhausted:
            due = int(self._ahead.arrival_seconds.searchsorted(until_seconds, side="right"))
            parts.append(self._ahead.take(slice(due)))
            self._ahead = self._ahead.take(slice(due, None))
            if len(self._ahead):
                break
            following = next(self._chunks, None)
            if following is None:
                self.exhausted = True
            else:
                self._ahead = following
        return Requests.concat(parts)

    @property
    def finished(self) -> bool:
        """Whether every request of the trace has arrived and left."""
        return self.exhausted and self.unfinished_requests == 0

    @property
    def unfinished_requests(self) -> int:
        """Requests that were taken from the trace and have not left yet."""
        snapshot = self._plant.snapshot()
        return self._offered_requests - snapshot.finished_requests - snapshot.lost_requests

    def snapshot(self) -> Snapshot:
        """Everything countable about the fleet now."""
        return self._plant.snapshot()

    def observe(self) -> Observation:
        """What its metrics say now."""
        return self._meter.observe(self._plant.snapshot())

    def pools(self) -> PerRole[PoolState]:
        """What its workloads say now."""
        return self._plant.snapshot().replicas.map(
            lambda counts: PoolState(
                desired_replicas=counts.desired,
                ready_replicas=counts.ready,
                starting_ages_seconds=counts.starting_ages_seconds,
                draining_replicas=counts.draining,
            )
        )

    def scale(self, target: PerRole[int]) -> None:
        """Ask for other sizes."""
        desired = self.pools().map(lambda pool: pool.desired_replicas)
        self._scaling_events += sum(target[role] != desired[role] for role in Role)
        self._plant.scale(target)

    def score(self) -> Score:
        """How well the requests so far were served; those still inside count as missed."""
        snapshot = self._plant.snapshot()
        return self._scorer.score(
            requests=snapshot.arrived_requests,
            run_seconds=snapshot.now_seconds - self._start_seconds,
            gpu_seconds=sum(snapshot.gpu_seconds),
            scaling_events=self._scaling_events,
        )
