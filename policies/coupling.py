"""The coupled solve: prefill and decode sized as one problem."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.capacity import Capacity
from policies.config import PolicySettings
from policies.demand import Demand
from policies.lattice import Lattice
from policies.profile import Profile
from policies.shortfall import shortfall
from policies.types import Binding, Expectation, PerRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """The pair to run, what judged it, and what keeps it from being smaller.

    `feasible` is False when no pair within the bounds meets the objective, or when less is planned
    for, because replicas in plenty would not meet it, or when no pair can have the ratio asked for;
    `shortfall` then says what is missing.
    """

    replicas: PerRole[int]
    gpus: int
    capacity: Capacity
    binding: tuple[Binding, ...]
    feasible: bool
    shortfall: str | None = None

    @property
    def expected(self) -> Expectation:
        """What the pair is predicted to deliver."""
        return self.capacity.expect(self.replicas)


def solve(
    demand: Demand,
    profile: Profile,
    settings: PolicySettings,
    in_place: PerRole[int] | None = None,
    near: PerRole[int] | None = None,
) -> Solution:
    """Find the cheapest pair whose predicted joint attainment meets the objective.

    Joint means the product of TTFT and ITL attainment, so slack in one stage pays for the other.
    Exact over the integer lattice within the bounds: attainment never falls with either count, so
    for each prefill count the least decode count is found by bisection. When no pair in the budget
    meets the objective, the pair with the highest attainment (then the highest flow) is taken.

    A pair `in_place` that costs less is kept while it misses little more than is allowed; under
    scarcity, while no other is worth moving a replica from one side to the other. To begin `near`
    the answer makes the search shorter, and changes nothing else.
    """
    lattice = Lattice(Capacity(profile, settings, demand))
    pair = lattice.cheapest(in_place, near)
    feasible = pair is not None
    if pair is None:
        pair = lattice.without_idle(lattice.best_beside(in_place))
    elif in_place and lattice.gpus(in_place) < lattice.gpus(pair) and lattice.tolerates(in_place):
        pair = in_place
    return Solution(
        replicas=pair,
        gpus=lattice.gpus(pair),
        capacity=lattice.capacity,
        binding=lattice.binding(pair, feasible=feasible),
        feasible=feasible
        and lattice.attainable
        and not lattice.eased
        and settings.ratio.allows(pair),
        shortfall=shortfall(lattice, pair, feasible=feasible),
    )


def share_out(solution: Solution, now: Demand, in_place: PerRole[int]) -> Solution:
    """Share GPUs that are short between the roles by the demand of `now`.

    The demand planned for is an upper quantile of each load. Where GPUs are short, what insures one
    side against more is taken from the other, which needs it now.
    """
    asked = solution.capacity
    lattice, lattice_now = Lattice(asked), Lattice(replace(asked, demand=now))
    pair = lattice_now.best_beside(in_place)
    pair = lattice.without_idle(pair).zip(lattice_now.without_idle(pair)).map(max)
    return replace(
        solution,
        replicas=pair,
        gpus=lattice.gpus(pair),
        shortfall=shortfall(lattice, pair, feasible=False),
    )
