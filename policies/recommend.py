"""A recommendation on request: the pair for a load given in plain numbers."""

from __future__ import annotations

from policies.config import PolicySettings
from policies.coupling import Solution, solve
from policies.demand import Demand, Shape
from policies.lengths import Lengths
from policies.profile import Profile


def recommend(
    profile: Profile,
    settings: PolicySettings,
    *,
    requests_per_second: float,
    input_tokens: Lengths,
    output_tokens: Lengths,
) -> Solution:
    """Size both pools for a steady load, without history, guards or a running fleet."""
    shape = Shape(prompt_tokens=input_tokens, prefix_hit_fraction=0.0, output_tokens=output_tokens)
    demand = Demand(
        load=shape.load_of(profile, requests_per_second),
        shape=shape,
        arrival_dispersion=settings.arrival_dispersion,
    )
    return solve(demand, profile, settings)
