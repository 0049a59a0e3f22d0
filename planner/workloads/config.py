"""The workload section of the configuration, and the one list of kinds."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from planner.budget import BudgetConfig
from planner.kube import Kube, KubeSettings
from planner.workloads.anything import AnyScalable
from planner.workloads.deletion import WorkOfPods
from planner.workloads.deployment import Deployment
from planner.workloads.disaggregatedset import DisaggregatedSet
from planner.workloads.dynamo import DynamoGraphDeployment
from planner.workloads.grove import PodClique, PodCliqueScalingGroup
from planner.workloads.joint import JointWrite
from planner.workloads.leaderworkerset import LeaderWorkerSet
from planner.workloads.llminferenceservice import LLMInferenceService
from planner.workloads.object_pool import Manners, ObjectPool
from planner.workloads.pair import PairedWorkload
from planner.workloads.pool import ScalablePool
from planner.workloads.rolebasedgroup import RoleBasedGroup
from planner.workloads.statefulset import StatefulSet
from planner.workloads.stormservice import StormService
from policies.config import Section
from policies.types import PerRole, Role

# One line per kind: the model that reads `kind: NAME` also reads the objects of that kind.
Pool = Annotated[
    AnyScalable
    | Deployment
    | DisaggregatedSet
    | DynamoGraphDeployment
    | LeaderWorkerSet
    | LLMInferenceService
    | PodClique
    | PodCliqueScalingGroup
    | RoleBasedGroup
    | StatefulSet
    | StormService,
    Field(discriminator="kind"),
]


class NoticeSettings(Section):
    """What is told in the cluster itself; a planner that only advises writes nothing there."""

    events: bool = Field(default=True, description="Events on the pools' objects, in act mode")
    annotate: bool = Field(
        default=False,
        description="the last decision as an annotation, in act mode; needs patch on the "
        "objects themselves",
    )


class WorkloadConfig(Section):
    """The two pools of one served model, and how to reach them."""

    namespace: str = Field(min_length=1, description="namespace of both pools")
    prefill: Pool = Field(description="the pool that processes prompts")
    decode: Pool = Field(description="the pool that generates tokens")
    router: Pool | None = Field(
        default=None,
        description="a front end, sized by requests per second as policy.router says; unset: none",
    )
    kubernetes: KubeSettings = KubeSettings()
    manners: Manners = Manners()
    budget: BudgetConfig = BudgetConfig()
    notices: NoticeSettings = NoticeSettings()

    @model_validator(mode="after")
    def _apart(self) -> WorkloadConfig:
        """One count cannot follow two decisions: each tick would undo what the last one wrote."""
        here = {"namespace": self.namespace}
        known: dict[Pool, str] = {}
        for name, pool in self.pools.items():
            where = pool.model_copy(update=here) if pool.namespace is None else pool
            if where in known:
                raise ValueError(
                    f"{known[where]} and {name} are the same pool, {pool.kind} {pool.name}; "
                    "name the pool of each"
                )
            known[where] = name
        return self

    @property
    def roles(self) -> PerRole[Pool]:
        """Both pools as one value."""
        return PerRole.of(lambda role: self.prefill if role is Role.PREFILL else self.decode)

    @property
    def pools(self) -> dict[str, Pool]:
        """Every pool by its name: the two roles', and the front end's where there is one."""
        pools = {str(role): pool for role, pool in self.roles.items()}
        return pools | ({"router": self.router} if self.router else {})


def make_workload(
    config: WorkloadConfig, api: Kube, work: PerRole[WorkOfPods] | None = None
) -> PairedWorkload:
    """Join both pools into one workload, which owns `api` from here on and closes it.

    `work` tells how many requests each pod of a role holds; without it that is unknown.
    """

    def pool(role: Role) -> ObjectPool:
        kind = config.roles[role]
        target = kind.target(config.namespace)
        return ObjectPool(api, kind, target, config.manners, work[role] if work else None)

    pools = PerRole.of(pool)
    one_object = pools.prefill.target == pools.decode.target
    scalable: PerRole[ScalablePool] = PerRole(pools.prefill, pools.decode)
    return PairedWorkload(api, scalable, JointWrite(api, pools) if one_object else None)


def make_router(config: WorkloadConfig, api: Kube) -> ObjectPool | None:
    """Make the front end's pool, where there is one, on a connection that the workload closes."""
    if config.router is None:
        return None
    target = config.router.target(config.namespace)
    return ObjectPool(api, config.router, target, config.manners)
