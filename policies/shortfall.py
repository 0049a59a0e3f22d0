"""What is missing where no pair within bounds and budget meets the objective, in words."""

from __future__ import annotations

from policies.capacity import Capacity
from policies.lattice import PLENTY, Lattice
from policies.types import PerRole


def shortfall(lattice: Lattice, pair: PerRole[int], *, feasible: bool) -> str | None:
    """Say what is missing; None when the objective is met."""
    capacity = lattice.capacity
    slo, ceiling, ratio = capacity.settings.slo, capacity.attainable, capacity.settings.ratio
    missing = []
    if ceiling.decode == 0.0:
        missing.append(
            f"one request alone already takes {capacity.iteration_seconds(1.0):.4g} s per "
            f"token: ITL {slo.itl_seconds:g} s is out of reach at any size"
        )
    if ceiling.prefill < slo.attainment_fraction:
        missing.append(
            f"{1 - ceiling.prefill:.1%} of prompts take longer than the TTFT objective "
            "on an idle fleet"
        )
    if lattice.eased and not missing:
        share = slo.attainment_fraction
        plenty = 2 * lattice.required / (1 + share)
        missing.append(
            f"{PLENTY} times what keeps up would have no more than {plenty:.2%} of requests "
            f"in time, so {lattice.required:.2%} is planned for and not {share:.2%}"
        )
    if lattice.gpus(lattice.low) > lattice.budget:
        missing.append(f"the least of both roles is beyond the budget of {lattice.budget} GPUs")
    if not ratio.allows(pair):
        missing.append(f"no pair within bounds and budget has {ratio}")
    if not feasible:
        ttft, itl = lattice.attainments(pair)
        missing.append(
            f"{lattice.gpus(pair)} GPUs reach {ttft * itl:.1%} of {lattice.required:.1%}; "
            f"{_needed(lattice)}"
        )
    return "; ".join(missing) or None


def _needed(lattice: Lattice) -> str:
    unbounded = lattice.capacity.settings.model_copy(update={"gpu_budget": None})
    free = Lattice(Capacity(lattice.capacity.profile, unbounded, lattice.capacity.demand))
    free.high = PerRole(*(4 * high for high in lattice.high))
    needed = free.cheapest()
    if needed is None:
        return "no size within reach would meet it"
    return (
        f"{lattice.gpus(needed)} would be needed "
        f"({needed.prefill} prefill + {needed.decode} decode)"
    )
