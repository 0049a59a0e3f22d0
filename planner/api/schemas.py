"""What the API answers. Unknown is null; so is an unbounded latency, and its sentence says so.

Field names equal those of the planner's own records, from which every answer is read.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from forecasting.forecast import Mode
from planner.api import view
from planner.explain import explain, explain_router, why
from planner.front_end import RouterTick
from planner.journal import Record
from planner.outcome import Outcome, outcome_of
from policies.config import Slo
from policies.lengths import Lengths
from policies.types import Binding, HoldReason, Role


def _mean_of(value: object) -> object:
    return value.mean if isinstance(value, Lengths) else value


Number = float | None  # written as null when infinite: JSON has no other word for it


class Answer(BaseModel):
    """A part of an answer, read from the attributes of the planner's own types."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Replicas(Answer):
    """A replica count for each role."""

    prefill: int
    decode: int


class Requests(Answer):
    """A number of requests for each role; null is unknown."""

    prefill: Number
    decode: Number


class Latency(Answer):
    """A latency measured over the observation's window."""

    mean_seconds: Number
    p95_seconds: Number


class Observation(Answer):
    """What the metrics said; null is unknown and never means zero."""

    observed_at_seconds: float
    window_seconds: float
    requests_per_second: Number = Field(description="offered rate, measured at arrival")
    input_tokens: Annotated[Number, BeforeValidator(_mean_of)] = Field(
        description="mean prompt length, tokens"
    )
    output_tokens_mean: Number
    prefix_hit_fraction: Number
    ttft: Latency
    itl: Latency
    waiting_requests: Requests
    running_requests: Requests
    kv_usage_fraction: Number
    kv_transfer_backlog_requests: Number
    problems: tuple[str, ...]


class Pool(Answer):
    """All replicas of one role."""

    desired_replicas: int
    ready_replicas: int
    starting_replicas: int
    draining_replicas: int
    rollout_in_progress: bool
    gpus_per_replica: int | None = Field(
        description="as the cluster shows it; null is unknown, and the profile's number counts"
    )


class UnavailablePool(Answer):
    """A pool that could not be read, and why."""

    why: str


class Pools(Answer):
    """Both pools as found in this tick."""

    prefill: Pool | UnavailablePool
    decode: Pool | UnavailablePool


class Expectation(Answer):
    """What a pair is predicted to deliver; latencies are at the SLO's own share of requests."""

    ttft_seconds: Number
    itl_seconds: Number
    ttft_attainment: float
    itl_attainment: float
    joint_attainment: float
    carried_fraction: float = Field(
        description="share of the offered requests that the narrowest stage can carry; 1 unless "
        "it is overloaded"
    )


class Margin(Answer):
    """One replica of a role more and one fewer, the other role as it is."""

    gpus: int = Field(description="what the replica costs")
    more: Expectation
    fewer: Expectation | None = Field(description="null below one replica")
    binding: Binding | None = Field(
        description="what forbids one fewer; null where it would still do, or where the pair "
        "falls short already"
    )


class Margins(Answer):
    """A margin for each role."""

    prefill: Margin
    decode: Margin


class Needed(Answer):
    """Replicas that the demand planned for calls for, not rounded; null: no number would do."""

    prefill: Number
    decode: Number


class Prospect(Answer):
    """What a pair is predicted to deliver, how sure that is, and what the pairs beside it would."""

    replicas: Replicas
    now: Expectation = Field(description="under the demand seen now, replicas as fast as believed")
    likely: Expectation = Field(description="under the centre of the forecast")
    planned: Expectation = Field(
        description="under the quantile planned for, with the work that waits, on replicas one "
        "standard deviation slower than believed"
    )
    sufficient: bool = Field(
        description="whether the pair meets the objective, or misses so little that it is kept"
    )
    tolerated: bool = Field(description="whether it is kept although it misses that little")
    margins: Margins = Field(description="under the demand planned for")
    needed_replicas: Needed
    efficient_ratio: Number = Field(
        description="prefill per decode replica at which neither side idles: needed_replicas, "
        "one over the other"
    )


class Hold(Answer):
    """Why nothing changes."""

    reason: HoldReason
    detail: str


class Limiter(Answer):
    """A guard that changed the solved pair, and why."""

    name: str
    before: Replicas
    after: Replicas
    why: str


class Forecast(Answer):
    """One load and its peak from `lead_seconds` after now on, which the pools are sized for."""

    load: str = Field(
        description="prefill_erlangs (busy replicas), decode_tokens_per_second, or "
        "kv_token_steps_per_second (output tokens, each times the context that it reads)"
    )
    seen: Number = Field(description="mean of the newest cell")
    centre: Number = Field(description="central forecast of the peak")
    upper: Number = Field(description="the quantile of it to size for")
    lead_seconds: float
    mode: Mode
    why: str = Field(description="why this mode")
    weights: dict[str, float] = Field(description="share of each model")


class Cap(Answer):
    """What the cluster grants both roles together, and who says so."""

    gpus: int
    source: str


class Decision(Answer):
    """What to run and why. `raw` is the solved pair before any guard."""

    decided_at_seconds: float
    current: Replicas | None
    target: Replicas | None
    raw: Replicas | None
    prospect: Prospect | None = Field(
        description="what the target is predicted to deliver; null when nothing was sized"
    )
    binding: tuple[Binding, ...]
    hold: Hold | None
    limiters: tuple[Limiter, ...]
    notes: tuple[str, ...]
    forecasts: tuple[Forecast, ...] = Field(description="empty when nothing was decided from one")
    backlog: Requests | None = Field(
        description="requests beyond a normal queue that ready and starting replicas will not have "
        "worked off in time; null when nothing was sized"
    )
    unserved: Requests | None = Field(
        description="requests that are counted as waiting, but that idle replicas leave alone; "
        "null when nothing was sized"
    )
    cap: Cap | None = Field(description="where the cluster grants less than the budget configured")


class WriteFailure(Answer):
    """A replica count that could not be written."""

    role: Role
    why: str


class RouterLimiter(Answer):
    """A guard that changed the size of the front end, and why."""

    name: str
    before: int
    after: int
    why: str


class RouterDecision(Answer):
    """The front end's size and why. `raw` is the size before any guard."""

    current: int | None
    target: int | None
    raw: int | None
    requests_per_second: Number = Field(description="what it is sized for: the coming peak")
    hold: Hold | None
    limiters: tuple[RouterLimiter, ...]


class Router(Answer):
    """The front end's turn in a tick."""

    explanation: str = Field(description="the decision and its reasons in one sentence")
    applied: bool
    decision: RouterDecision
    pool: Pool | UnavailablePool
    failure: str | None = Field(description="why its count could not be written")

    @classmethod
    def of(cls, turn: RouterTick) -> Router:
        """Read a turn of a journal record."""
        return cls(
            explanation=explain_router(turn.decision),
            applied=turn.applied,
            decision=RouterDecision.model_validate(turn.decision),
            pool=TypeAdapter(Pool | UnavailablePool).validate_python(
                turn.pool, from_attributes=True
            ),
            failure=turn.failure,
        )


class Tick(Answer):
    """One turn of the loop: what was seen, found and decided."""

    explanation: str = Field(description="the decision and its reasons in one sentence")
    why: str = Field(description="its reasons alone")
    outcome: Outcome
    applied: bool = Field(description="false in advise mode and on a hold")
    decision: Decision
    observation: Observation
    pools: Pools
    failures: tuple[WriteFailure, ...]
    router: Router | None = Field(description="the front end; null where none is scaled")

    @classmethod
    def of(cls, record: Record, slo: Slo) -> Tick:
        """Read a journal record; the sentence needs the objective to compare with."""
        return cls(
            explanation=explain(record.decision, slo, record.pools),
            why=why(record.decision, slo),
            outcome=outcome_of(record.decision),
            applied=record.applied,
            decision=Decision.model_validate(record.decision),
            observation=Observation.model_validate(record.observation),
            pools=Pools.model_validate(record.pools),
            failures=tuple(WriteFailure.model_validate(failure) for failure in record.failures),
            router=Router.of(record.router) if record.router else None,
        )


class Decisions(Answer):
    """The recent past, newest last."""

    decisions: tuple[Tick, ...]


class Budget(Answer):
    """What the pools may cost: GPUs of one replica, and of all together (null: no limit)."""

    gpus_per_replica: Replicas
    gpu_budget: int | None


class State(Answer):
    """The planner now. `last` is null before the first tick."""

    mode: view.Mode
    profile: str
    slo: Slo
    budget: Budget
    now_seconds: float = Field(description="Unix time, or simulated seconds in a demo")
    tick_seconds: float
    explanation: str
    last: Tick | None
    summary: dict[str, float | str | None] | None = Field(
        description="interim result of a demo; null otherwise"
    )


class Health(Answer):
    """Whether a probe passes, and why."""

    ok: bool
    why: str
