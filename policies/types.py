"""The words of a decision: what is seen, what is decided, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from forecasting.forecast import Mode
from policies.lengths import Lengths

T = TypeVar("T")
U = TypeVar("U")


class Role(StrEnum):
    """A stage of disaggregated serving."""

    PREFILL = "prefill"
    DECODE = "decode"


@dataclass(frozen=True, slots=True)
class PerRole(Generic[T]):
    """One value for each role; role is data, never part of a name."""

    prefill: T
    decode: T

    @classmethod
    def of(cls, make: Callable[[Role], T]) -> PerRole[T]:
        """Build both values from the role itself."""
        return cls(prefill=make(Role.PREFILL), decode=make(Role.DECODE))

    def __getitem__(self, role: Role) -> T:
        return self.prefill if role is Role.PREFILL else self.decode

    def __iter__(self) -> Iterator[T]:
        return iter((self.prefill, self.decode))

    def but(self, role: Role, value: T) -> PerRole[T]:
        """The same with another value for one role."""
        return PerRole(value, self.decode) if role is Role.PREFILL else PerRole(self.prefill, value)

    def items(self) -> Iterator[tuple[Role, T]]:
        """Yield (role, value), prefill first."""
        return iter(((Role.PREFILL, self.prefill), (Role.DECODE, self.decode)))

    def map(self, change: Callable[[T], U]) -> PerRole[U]:
        """Apply `change` to both values."""
        return PerRole(change(self.prefill), change(self.decode))

    def zip(self, other: PerRole[U]) -> PerRole[tuple[T, U]]:
        """Pair both values with another's."""
        return PerRole((self.prefill, other.prefill), (self.decode, other.decode))


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A latency as measured over one window; None is unknown."""

    mean_seconds: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    p99_seconds: float | None = None


UNKNOWN_LATENCY = Latency()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """KV hand-offs as measured over one window; None is unknown."""

    mean_seconds: float | None = None
    bytes_per_second: float | None = None
    failures_per_second: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How good a group of signals is; None is unknown.

    The age is that of its newest sample, the coverage the share of its pods that answered.
    """

    age_seconds: float | None = None
    coverage_fraction: float | None = None


class Trust(StrEnum):
    """How far an observation may be followed."""

    FULL = "full"
    SCALE_OUT_ONLY = "scale_out_only"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the metrics say at one instant. None is unknown and never means zero.

    Rates are averages over `window_seconds`; queue depths are instantaneous counts of requests.
    `requests_per_second` is the offered rate, measured at arrival. `arrival_dispersion` is the
    variance over the mean of arrivals in bins of a few seconds: 1 for Poisson, more in bursts.
    """

    observed_at_seconds: float
    window_seconds: float
    requests_per_second: float | None = None
    arrival_dispersion: float | None = None
    finished_per_second: float | None = None
    input_tokens: Lengths | None = None
    output_tokens: Lengths | None = None
    output_tokens_mean: float | None = None
    prefix_hit_fraction: float | None = None
    ttft: Latency = UNKNOWN_LATENCY
    itl: Latency = UNKNOWN_LATENCY
    waiting_requests: PerRole[float | None] = PerRole(None, None)
    running_requests: PerRole[float | None] = PerRole(None, None)
    kv_usage_fraction: float | None = None
    kv_usage_max_fraction: float | None = None
    kv_transfer_backlog_requests: float | None = None
    kv_transfer: Transfer = Transfer()
    live_pods: PerRole[float | None] = PerRole(None, None)
    demand_quality: Quality = Quality()
    pool_quality: PerRole[Quality] = PerRole(Quality(), Quality())
    trust: Trust = Trust.FULL
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolState:
    """All replicas of one role. `desired` is what the workload was last asked for.

    `nodes` are those that its pods are on. `stuck_replicas` will not become ready by waiting. The
    workload's own controller tolerates no less than `floor_replicas`. `other_writer` names whoever
    else sets the count: hold then.
    """

    desired_replicas: int
    ready_replicas: int
    starting_ages_seconds: tuple[float, ...] = ()
    draining_replicas: int = 0
    rollout_in_progress: bool = False
    stuck_replicas: int = 0
    floor_replicas: int = 1
    gpus_per_replica: int | None = None
    pods_per_replica: int = 1
    nodes: frozenset[str] = frozenset()
    startup_seconds_p90: float | None = None
    other_writer: str | None = None
    problems: tuple[str, ...] = ()

    @property
    def starting_replicas(self) -> int:
        """Replicas asked for and not yet ready."""
        return len(self.starting_ages_seconds)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A pool that could not be read, and why, in words for the operator."""

    why: str


Pools = PerRole[PoolState | Unavailable]


@dataclass(frozen=True, slots=True)
class GpuCap:
    """Most GPUs for both roles together now (None: no limit), and who sets it.

    `replicas` is the most of each role alone, where GPUs are too scattered for the size of its
    replicas; `shortage` says so in words when not one more of a role fits.
    """

    gpus: int | None
    source: str
    replicas: PerRole[int | None] = PerRole(None, None)
    shortage: str | None = None


class HoldReason(StrEnum):
    """Why a decision changes nothing."""

    ALREADY_RIGHT = "already_right"
    METRICS_UNKNOWN = "metrics_unknown"
    METRICS_STALE = "metrics_stale"
    METRICS_PARTIAL = "metrics_partial"
    POOL_UNKNOWN = "pool_unknown"
    ROLLOUT_IN_PROGRESS = "rollout_in_progress"
    SCALE_IN_STABILISING = "scale_in_stabilising"
    SCALE_OUT_LIMIT = "scale_out_limit"
    NOT_WORTH_A_START = "not_worth_a_start"
    SCALED_TO_ZERO = "scaled_to_zero"
    OTHER_WRITER = "other_writer"
    REPLICAS_STUCK = "replicas_stuck"
    BUDGET = "budget"
    BOUNDS = "bounds"
    RATIO = "ratio"
    FLOOR = "floor"
    DECISION_FAILED = "decision_failed"


@dataclass(frozen=True, slots=True)
class Hold:
    """A decision to change nothing, with its reason."""

    reason: HoldReason
    detail: str


@dataclass(frozen=True, slots=True)
class Limiter:
    """One guard's mark on a decision: it changed `before` into `after`, because of `why`."""

    name: str
    before: PerRole[int]
    after: PerRole[int]
    why: str


class Binding(StrEnum):
    """The constraint that keeps a pair from being smaller."""

    TTFT = "ttft"
    ITL = "itl"
    KV_MEMORY = "kv_memory"
    KV_LINK = "kv_link"
    MAX_SEQUENCES = "max_sequences"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    RATIO = "ratio"
    BUDGET = "budget"
    INFEASIBLE_SLO = "infeasible_slo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a pair of pools is predicted to deliver. Percentiles are at the SLO's own share.

    `carried_fraction` is the share of the offered requests that the narrowest stage can carry: 1
    unless it is overloaded.
    """

    ttft_seconds: float
    itl_seconds: float
    ttft_attainment: float
    itl_attainment: float
    carried_fraction: float

    @property
    def joint_attainment(self) -> float:
        """Share of requests that meet both, taking the two stages as independent."""
        return self.ttft_attainment * self.itl_attainment


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """One replica of a role more and one fewer, the other role as it is; `gpus` is its cost.

    `fewer` is None below one replica. `binding` is what forbids one fewer; None where it would
    still do, or where the pair falls short already.
    """

    gpus: int
    more: Expectation
    fewer: Expectation | None
    binding: Binding | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What a pair is predicted to deliver, how sure that is, and what the pairs beside it would.

    `planned` is under the demand planned for, as are margins and needs; `likely` and `now` are
    under the centre of the forecast and the demand seen now. `sufficient` says whether the pair
    meets the objective, or is `tolerated`: it misses so little that the solve would keep it.
    `needed_replicas` is not rounded; infinite when no number helps. How each is worked out:
    `policies.foresight`.
    """

    replicas: PerRole[int]
    now: Expectation
    likely: Expectation
    planned: Expectation
    sufficient: bool
    tolerated: bool
    margins: PerRole[Margin]
    needed_replicas: PerRole[float]

    @property
    def efficient_ratio(self) -> float | None:
        """Prefill replicas per decode replica at which neither side idles; None without one."""
        prefill, decode = self.needed_replicas
        known = 0.0 < prefill < math.inf and 0.0 < decode < math.inf
        return prefill / decode if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadForecast:
    """What was told of one load, by its name and in the units of `policies.demand.Load`.

    `seen` is the mean of the newest cell that was seen. `centre` and `upper` are of its peak from
    `lead_seconds` after now on: the blend of `weights`, and the quantile to size for.
    """

    load: str
    seen: float | None
    centre: float | None
    upper: float | None
    lead_seconds: float
    mode: Mode
    why: str
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to run, and every reason behind it. `target` equals the current size on a hold.

    `foresight` predicts for any pair, under what was known at the time; None when nothing was
    sized. It is asked only where a decision is shown, because it takes longer than to decide.

    `backlog` are the requests beyond a normal queue that ready and starting replicas will not have
    worked off when one asked for now could help. `unserved` are counted as waiting, but no queue
    (policies/unserved.py). None when nothing was sized. `cap` is what the cluster grants, where
    that is less than the configured budget.
    """

    decided_at_seconds: float
    current: PerRole[int] | None
    target: PerRole[int] | None
    raw: PerRole[int] | None = None
    foresight: Callable[[PerRole[int]], Prospect] | None = None
    binding: tuple[Binding, ...] = ()
    hold: Hold | None = None
    limiters: tuple[Limiter, ...] = ()
    notes: tuple[str, ...] = ()
    forecasts: tuple[LoadForecast, ...] = ()
    backlog: PerRole[float] | None = None
    unserved: PerRole[float] | None = None
    cap: GpuCap | None = None

    @property
    def changes(self) -> bool:
        """Whether applying this decision would change a replica count."""
        return self.hold is None

    @property
    def prospect(self) -> Prospect | None:
        """What the target is predicted to deliver; None when nothing was sized."""
        if self.foresight is None or self.target is None:
            return None
        return self.foresight(self.target)
