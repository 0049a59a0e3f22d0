"""A size on request: the load in plain numbers in, the pair and its reasons out."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from planner.api.schemas import Answer, Expectation, Margins, Needed, Number, Replicas
from planner.explain import expectations, reasons
from planner.quantities import pair
from policies.config import PolicySettings, Slo
from policies.coupling import Solution
from policies.foresight import Foresight
from policies.lengths import Lengths
from policies.profile import Profile
from policies.ratio import RatioRange
from policies.recommend import recommend
from policies.types import Binding, Prospect


def _whole(value: object) -> object:
    """Take 8.0 for 8, as JSON does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Beyond these no fleet is meant; they keep the arithmetic finite and the search short.
MOST_REQUESTS_PER_SECOND, MOST_TOKENS, MOST_SECONDS, MOST_CV = 1e6, 1e7, 1e5, 10.0
Rate = Annotated[float, Field(ge=0, le=MOST_REQUESTS_PER_SECOND, allow_inf_nan=False)]
Tokens = Annotated[float, Field(ge=1, le=MOST_TOKENS, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=MOST_SECONDS, allow_inf_nan=False)]
Gpus = Annotated[int, Field(ge=1, le=10**6), BeforeValidator(_whole)]
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class _Question(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Objective(_Question):
    """An SLO; what is left out stays as the service has it."""

    ttft_seconds: Seconds | None = None
    ttft_seconds_per_input_token: Annotated[float, Field(ge=0, le=1)] | None = None
    itl_seconds: Seconds | None = None
    attainment_fraction: Share | None = None

    def over(self, slo: Slo) -> Slo:
        """Fill up what is left out from another objective."""
        return slo.model_copy(update=self.model_dump(exclude_none=True))


class AskedRatio(RatioRange):
    """Bounds on prefill replicas per decode replica, instead of the service's own.

    Ends in the wrong order are a question that has an answer: no pair is within them.
    """

    model_config = ConfigDict(strict=True)

    @model_validator(mode="after")
    def _ordered(self) -> AskedRatio:
        return self


class RecommendRequest(_Question):
    """A steady load to size both pools for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"requests_per_second": 20, "input_tokens": 3000, "output_tokens": 250},
                {
                    "requests_per_second": 20,
                    "input_tokens": 3000,
                    "input_tokens_cv": 1.2,
                    "output_tokens": 250,
                    "slo": {"ttft_seconds": 1, "itl_seconds": 0.03},
                    "gpu_budget": 8,
                    "ratio": {"max_prefill_per_decode": 2},
                },
            ]
        }
    )

    requests_per_second: Rate = Field(description="offered rate")
    input_tokens: Tokens = Field(description="mean prompt length, tokens")
    input_tokens_cv: Annotated[float, Field(ge=0, le=MOST_CV, allow_inf_nan=False)] | None = Field(
        default=None, description="standard deviation over mean; default: the service's setting"
    )
    output_tokens: Tokens = Field(description="mean generated length, tokens")
    slo: Objective = Objective()
    gpu_budget: Gpus | None = Field(
        default=None, description="most GPUs for both roles; default: the service's budget"
    )
    ratio: AskedRatio = Field(
        default=AskedRatio(), description="prefill per decode; default: the service's range"
    )

    def settings_over(self, settings: PolicySettings) -> PolicySettings:
        """The service's settings with this question's own objective, budget and ratio."""
        return settings.model_copy(
            update={
                "slo": self.slo.over(settings.slo),
                "gpu_budget": self.gpu_budget or settings.gpu_budget,
                "ratio": self.ratio if self.ratio.limits else settings.ratio,
            }
        )

    def solve(self, profile: Profile, settings: PolicySettings) -> Recommendation:
        """Size both pools under the service's profile and settings."""
        settings = self.settings_over(settings)
        cv = settings.input_length_cv if self.input_tokens_cv is None else self.input_tokens_cv
        solution = recommend(
            profile,
            settings,
            requests_per_second=self.requests_per_second,
            input_tokens=Lengths.lognormal(self.input_tokens, cv),
            output_tokens=Lengths.lognormal(self.output_tokens, settings.output_length_cv),
        )
        prospect = Foresight.steady(solution.capacity)(solution.replicas)
        return Recommendation.of(solution, prospect, profile.name)


class Recommendation(Answer):
    """The cheapest pair that meets the objective; else the best within bounds and budget."""

    explanation: str = Field(description="the recommendation in one sentence")
    profile: str
    replicas: Replicas
    gpus: int
    slo: Slo
    expected: Expectation
    binding: tuple[Binding, ...] = Field(description="what keeps the pair from being smaller")
    margins: Margins = Field(description="one replica more and one fewer of each role")
    needed_replicas: Needed
    efficient_ratio: Number = Field(
        description="prefill per decode replica at which neither side idles"
    )
    feasible: bool
    shortfall: str | None = Field(description="what is missing when not feasible")

    @classmethod
    def of(cls, solution: Solution, prospect: Prospect, profile: str) -> Recommendation:
        """Read a solution of the coupled solve, and the prospect of its pair."""
        slo = solution.capacity.settings.slo
        return cls(
            explanation=_sentence(solution, prospect, slo),
            profile=profile,
            replicas=Replicas.model_validate(solution.replicas),
            gpus=solution.gpus,
            slo=slo,
            expected=Expectation.model_validate(prospect.planned),
            binding=solution.binding,
            margins=Margins.model_validate(prospect.margins),
            needed_replicas=Needed.model_validate(prospect.needed_replicas),
            efficient_ratio=prospect.efficient_ratio,
            feasible=solution.feasible,
            shortfall=solution.shortfall,
        )


def _sentence(solution: Solution, prospect: Prospect, slo: Slo) -> str:
    size = f"{pair(solution.replicas)} replicas on {solution.gpus} GPUs"
    why = reasons(solution.binding, prospect, slo)
    missing = [solution.shortfall] if solution.shortfall else []
    return f"{size}: " + "; ".join([*why, *missing, *expectations(prospect, slo)])
