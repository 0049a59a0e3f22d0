"""The knobs of a decision, each with its unit and the reason for its default."""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from forecasting.registry import forecasters
from policies.ratio import RatioRange
from policies.types import PerRole

Tokens = TypeVar("Tokens", float, NDArray[np.float64])

_DAY_SECONDS = 86_400.0  # what is looked back on or ahead over is kept and computed, cell by cell


class Section(BaseModel):
    """A part of the configuration file; unknown keys are errors, and so is an infinite number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Slo(Section):
    """The service-level objective of one request, and the share of requests that must meet it."""

    ttft_seconds: PositiveFloat = Field(
        default=2.0, description="time to first token at the user, seconds"
    )
    ttft_seconds_per_input_token: NonNegativeFloat = Field(
        default=0.0,
        description="added to ttft_seconds for each prompt token; 0 is a flat objective",
    )
    itl_seconds: PositiveFloat = Field(
        default=0.05, description="inter-token latency, mean over one request, seconds"
    )
    attainment_fraction: float = Field(
        default=0.99, gt=0.0, lt=1.0, description="share of requests that must meet TTFT and ITL"
    )

    def ttft_objective_seconds(self, input_tokens: Tokens) -> Tokens:
        """Time to first token allowed for a prompt of this length."""
        return self.ttft_seconds + self.ttft_seconds_per_input_token * input_tokens


class RoleSettings(Section):
    """Bounds and start-up time of one pool."""

    min_replicas: PositiveInt = Field(
        default=1, description="floor; never 0, because at 0 the demand signal disappears"
    )
    max_replicas: PositiveInt = Field(default=64, le=10_000, description="ceiling, replicas")
    fallback_replicas: PositiveInt | None = Field(
        default=None,
        description="size to have at least after guards.fallback_after_seconds without demand "
        "being known, replicas; unset: the size that is there",
    )
    startup_seconds: NonNegativeFloat = Field(
        default=120.0,
        le=_DAY_SECONDS,
        description="scale-up to ready; plan on a high percentile of it",
    )

    @model_validator(mode="after")
    def _ordered(self) -> RoleSettings:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}"
            )
        if (self.fallback_replicas or 0) > self.max_replicas:
            raise ValueError(
                f"fallback_replicas {self.fallback_replicas} is above max_replicas "
                f"{self.max_replicas}"
            )
        return self


class RouterSettings(Section):
    """A front end before both pools, sized by requests per second alone."""

    requests_per_second_per_replica: PositiveFloat = Field(
        description="what one replica carries with room to spare; measure yours, requests/s"
    )
    min_replicas: PositiveInt = Field(
        default=1, description="floor; 2 where requests must outlive the loss of one"
    )
    max_replicas: PositiveInt = Field(default=64, le=10_000, description="ceiling, replicas")

    @model_validator(mode="after")
    def _ordered(self) -> RouterSettings:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas {self.min_replicas} is above max_replicas {self.max_replicas}"
            )
        return self


class Guards(Section):
    """What bounds a decision after the solve."""

    scale_in_window_seconds: NonNegativeFloat = Field(
        default=300.0,
        le=_DAY_SECONDS,
        description="scale in only to the largest size wanted within this window, and by a single "
        "replica only to that within two; 300 s is the measured knee: 60 s costs attainment, "
        "600 s costs GPU-hours for nothing",
    )
    scale_in_slot_seconds: NonNegativeFloat = Field(
        default=60.0,
        le=_DAY_SECONDS,
        description="scale in once in slots of this length, on the clock; 0 is in any tick",
    )
    rise_hold_seconds: NonNegativeFloat = Field(
        default=600.0,
        le=_DAY_SECONDS,
        description="after a scale-out keep at least one replica of it for this long",
    )
    tolerated_demand_fraction: float = Field(
        default=0.05,
        ge=0.0,
        lt=1.0,
        description="scale out only where the pools in place would not do for the demand planned "
        "for less this share of it; 0 is at once",
    )
    stale_after_seconds: PositiveFloat = Field(
        default=60.0, le=3600.0, description="an older observation is unknown, seconds"
    )
    fallback_after_seconds: NonNegativeFloat | None = Field(
        default=None,
        le=_DAY_SECONDS,
        description="after demand was unknown for this long, raise each pool to its "
        "fallback_replicas; unset: hold for as long as it takes",
    )
    max_scale_out_replicas: PositiveInt | None = Field(
        default=None, description="most replicas added to a role in one decision; unset: no limit"
    )


class KnownEvent(Section):
    """A campaign, a holiday, a maintenance: what will be, by the calendar."""

    start: AwareDatetime = Field(
        description='first moment, with its offset from UTC: "2026-11-27T08:00:00+01:00"'
    )
    end: AwareDatetime = Field(description="when it is over")
    multiplier: PositiveFloat = Field(
        default=1.0, description="load then, over what it would be without"
    )
    floor_requests_per_second: NonNegativeFloat = Field(
        default=0.0, description="at least this much will be offered"
    )

    @model_validator(mode="after")
    def _in_order(self) -> KnownEvent:
        if self.start >= self.end:
            raise ValueError(f"an event must end after it starts, {self.start.isoformat()}")
        if self.multiplier == 1.0 and not self.floor_requests_per_second:
            raise ValueError("neither a multiplier nor a floor_requests_per_second")
        return self


class ForecastSettings(Section):
    """How demand is looked ahead. The lead is each role's start-up time."""

    models: tuple[str, ...] | None = Field(
        default=None,
        description="models to fit and choose from, beside last_value and recent_peak, which need "
        "none; unset: those of `planner run`, and none in a replay or demo, which are to be quick",
    )
    refit_seconds: PositiveFloat | None = Field(
        default=None,
        ge=1.0,
        le=30 * _DAY_SECONDS,
        description="a model is fitted again when its fit is this old, seconds; unset: each when "
        "its kind of fit is worth it, from 15 minutes to 12 hours",
    )
    country: str | None = Field(
        default=None,
        pattern="^[A-Z]{2}$",
        description='ISO code of the country whose holidays `prophet` learns, such as "DE"',
    )
    events: tuple[KnownEvent, ...] = Field(
        default=(), description="known future events; where some overlap, multipliers multiply"
    )
    events_file: str | None = Field(
        default=None,
        description="more of them, as CSV with the header start,end,multiplier,floor (requests per "
        "second), seen from the configuration file; read once, at the start",
    )
    step_seconds: PositiveFloat = Field(
        default=30.0,
        ge=1.0,
        le=3600.0,
        description="length of one cell of the series that is forecast, seconds",
    )
    hold_seconds: NonNegativeFloat = Field(
        default=30.0,
        le=_DAY_SECONDS,
        description="how long beyond the lead demand must be met, seconds",
    )
    quantile_fraction: float = Field(
        default=0.95,
        gt=0.0,
        lt=1.0,
        description="quantile of the coming peak to be ready for; on measured days 0.8 saves 1 to "
        "3% of the GPU-hours and misses up to twice as many requests",
    )

    @field_validator("models")
    @classmethod
    def _known(cls, models: tuple[str, ...] | None) -> tuple[str, ...] | None:
        known = [forecaster.name for forecaster in forecasters(models or ())]
        for name in models or ():
            if name not in known:
                raise ValueError(f"there is no forecaster {name!r}; there are {', '.join(known)}")
        return models


class PolicySettings(Section):
    """Everything that `Engine.decide` may be tuned with."""

    slo: Slo = Slo()
    prefill: RoleSettings = RoleSettings()
    decode: RoleSettings = RoleSettings()
    router: RouterSettings | None = Field(
        default=None, description="how to size workload.router; unset: no front end is scaled"
    )
    gpu_budget: PositiveInt | None = Field(
        default=None, description="most GPUs for both roles together; unset: no limit"
    )
    ratio: RatioRange = RatioRange()
    guards: Guards = Guards()
    forecast: ForecastSettings = ForecastSettings()
    drain_seconds: PositiveFloat = Field(
        default=30.0,
        le=30 * _DAY_SECONDS,
        description="what replicas asked for now will find of a backlog is to be worked off within "
        "this time, seconds; all that arrives meanwhile waits as well",
    )
    arrival_dispersion: PositiveFloat = Field(
        default=1.0,
        le=10_000.0,
        description="variance over mean of arrivals in a few seconds, until it is measured; "
        "1 is Poisson",
    )
    routing: Literal["least_loaded", "round_robin"] = Field(
        default="least_loaded",
        description="how requests reach replicas: one shared queue, or each replica its own",
    )
    calibrate: bool = Field(
        default=True,
        description="learn from TTFT, ITL and standing queues how far the profile is off",
    )
    input_length_cv: NonNegativeFloat = Field(
        default=1.0,
        le=100.0,
        description="spread of prompt lengths where the metrics give only the mean",
    )
    output_length_cv: NonNegativeFloat = Field(
        default=1.0,
        le=100.0,
        description="spread of answer lengths where a recommendation is asked for",
    )
    kv_headroom_fraction: float = Field(
        default=0.1, ge=0.0, lt=1.0, description="share of KV memory kept free of planned load"
    )

    @model_validator(mode="after")
    def _ratio_within_bounds(self) -> PolicySettings:
        prefill, decode = self.prefill, self.decode
        low = PerRole(prefill.min_replicas, decode.min_replicas)
        if not self.ratio.least_above(low, PerRole(prefill.max_replicas, decode.max_replicas)):
            raise ValueError(
                f"no pair of {prefill.min_replicas} to {prefill.max_replicas} prefill and "
                f"{decode.min_replicas} to {decode.max_replicas} decode replicas has {self.ratio}"
            )
        return self

    @property
    def roles(self) -> PerRole[RoleSettings]:
        """The two pools' settings as one value."""
        return PerRole(self.prefill, self.decode)
