"""What survives from one tick to the next: JSON in, JSON out, bounded in size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from forecasting.state import encode, restore
from forecasting.tracker import Tracker
from policies.average import Average
from policies.calibration import UNCALIBRATED, Calibration
from policies.demand import Load, Shape
from policies.rise import NEVER_RISEN, Rises
from policies.surge import QueueReading
from policies.types import PerRole
from policies.unserved import ALL_SERVED, Unserved

VERSION = 1
_NEVER_HELD = Average(1.0)
_NEVER_MEASURED: PerRole[float | None] = PerRole(None, None)
_SHAPE_SECONDS = 300.0
_LOADS = 64  # ticks to average decode load over; the trackers remember the rest


@dataclass(frozen=True, slots=True)
class Sized:
    """The size that the solve asked for at one time, before any guard."""

    at_seconds: float
    replicas: PerRole[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Past loads and raw sizes, the last known shape of requests, and what replicas taught.

    `loads` and `arrivals` (requests per second) were seen at `seconds`.

    The trackers follow the loads of `policies.demand.LOADS` and forecast them. `lead_seconds` is
    each role's start-up time as measured; None was never measured. `intent` is a change that was
    begun and is not known to be done. `rises` are the last scale-outs that were decided. `queue` is
    the newest reading of prefill's queue, `unserved` what is counted as waiting and no queue.
    Loads are in the profile's own replica-seconds, whatever calibration says of them.

    A fresh memory is empty; the engine then starts from the pools it finds.
    """

    version: int = VERSION
    seconds: tuple[float, ...] = ()
    loads: tuple[Load, ...] = ()
    arrivals: tuple[float, ...] = ()
    sizes: tuple[Sized, ...] = ()
    shape: Shape | None = None
    calibration: Calibration = UNCALIBRATED
    arrival_dispersion: Average | None = None
    kv_held_factor: Average = _NEVER_HELD
    unserved: Unserved = ALL_SERVED
    queue: QueueReading | None = None
    queued_at_seconds: float | None = None
    lead_seconds: PerRole[float | None] = _NEVER_MEASURED
    intent: Sized | None = None
    rises: Rises = NEVER_RISEN
    trackers: Annotated[
        tuple[Tracker, ...],
        PlainValidator(lambda texts: tuple(restore(text) for text in texts)),
        PlainSerializer(lambda trackers: [encode(tracker) for tracker in trackers]),
    ] = ()

    @property
    def step_seconds(self) -> float:
        """Time between the two newest loads; 0 with fewer than two."""
        return self.seconds[-1] - self.seconds[-2] if len(self.seconds) > 1 else 0.0

    def begins_slot(self, slot_seconds: float) -> bool:
        """Whether the newest load is the first one seen in its slot of the clock."""
        if slot_seconds <= 0 or len(self.seconds) < 2:
            return True
        before, now = self.seconds[-2:]
        return before // slot_seconds < now // slot_seconds

    def with_load(
        self, now_seconds: float, requests_per_second: float, load: Load, shape: Shape
    ) -> Memory:
        """Append the load seen now; a time that is not later than the newest starts afresh."""
        later = not self.seconds or now_seconds > self.seconds[-1]
        known = self if later else self._without_times()
        return replace(
            known,
            seconds=(*known.seconds, now_seconds)[-_LOADS:],
            loads=(*known.loads, load)[-_LOADS:],
            arrivals=(*known.arrivals, requests_per_second)[-_LOADS:],
            shape=known.pooled_shape(now_seconds, requests_per_second, shape),
        )

    def _without_times(self) -> Memory:
        """Forget all that has a time, once the clock was set back.

        A size wanted next month would hold scale-in until then. The trackers see to themselves.
        """
        return replace(
            self,
            seconds=(),
            loads=(),
            arrivals=(),
            sizes=(),
            shape=None,
            queue=None,
            queued_at_seconds=None,
            rises=NEVER_RISEN,
        )

    def pooled_shape(self, now_seconds: float, requests_per_second: float, newest: Shape) -> Shape:
        """The shape of the requests of the last minutes: a window's longest prompts are chance."""
        if self.shape is None or not self.seconds:
            return newest
        elapsed_seconds = now_seconds - self.seconds[-1]
        share = 1.0 - math.exp(-elapsed_seconds / _SHAPE_SECONDS)
        return self.shape.pooled(newest, share * self._told_by(requests_per_second))

    def _told_by(self, requests_per_second: float) -> float:
        """How much a window tells of the requests to come: arrivals over the usual ones, at most 1.

        When arrivals stop, what still runs and ends are the longest answers of before: no others
        are to come.
        """
        usual = fmean(self.arrivals)
        return min(requests_per_second / usual, 1.0) if usual > 0 else 1.0

    def stay_seconds(self, itl_seconds: float) -> float:
        """How long a request of the last known shape stays in decode."""
        return self.shape.output_tokens_mean * itl_seconds if self.shape else 0.0

    def with_traits(
        self, dispersion: float | None, prior_dispersion: float, kv_held: float | None
    ) -> Memory:
        """Average in what was seen now of how arrivals come and how KV memory is held."""
        arrivals = self.arrival_dispersion or Average(prior_dispersion)
        told = self._told_by(self.arrivals[-1]) if self.arrivals else 1.0
        return replace(
            self,
            arrival_dispersion=arrivals.plus(dispersion, self.step_seconds),
            kv_held_factor=self.kv_held_factor.plus(kv_held, told * self.step_seconds),
        )

    def dispersion(self, prior: float) -> float:
        """How arrivals come: variance over mean within seconds; `prior` until it was measured."""
        return self.arrival_dispersion.mean if self.arrival_dispersion else prior

    def with_size(self, sized: Sized, window_seconds: float) -> Memory:
        """Append a raw size, forgetting those older than the window."""
        return replace(self, sizes=(*self.sizes_since(sized.at_seconds - window_seconds), sized))

    def sizes_since(self, seconds: float) -> tuple[Sized, ...]:
        """Raw sizes younger than that, oldest first."""
        return tuple([sized for sized in self.sizes if sized.at_seconds > seconds])

    def sized_since(self, seconds: float) -> bool:
        """Whether any raw size is younger than that."""
        return any(sized.at_seconds > seconds for sized in reversed(self.sizes))

    def history(self, value: Callable[[Load], float]) -> list[float]:
        """One of the loads over time, aligned with `seconds`."""
        return list(map(value, self.loads))

    def to_json(self) -> str:
        """Serialise for a state file."""
        return _ADAPTER.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Memory:
        """Restore what `to_json` wrote; ValueError says why it cannot be used."""
        try:
            memory = _ADAPTER.validate_json(text)
        except ValidationError as error:
            raise ValueError(f"not a planner memory: {error.errors()[0]['msg']}") from error
        if memory.version != VERSION:
            raise ValueError(f"memory version {memory.version}, this planner reads {VERSION}")
        return memory


_ADAPTER = TypeAdapter(Memory)
