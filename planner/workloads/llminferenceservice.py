"""KServe LLMInferenceService: `spec` is the decode pool and `spec.prefill` the prefill pool."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from planner.kube import Json, Resource, Target
from planner.workloads.deployment import Deployment
from planner.workloads.kind import Permission, PoolKind, Reading, Write, dig, scalable
from planner.workloads.leaderworkerset import LeaderWorkerSet
from policies.types import Role


class LLMInferenceService(PoolKind):
    """One role of the service. Its replicas are counted by the child that KServe makes.

    With replicas set in the service, that is where they are written; without, KServe leaves the
    child's own count alone, and the child is scaled.
    """

    kind: Literal["LLMInferenceService"]
    role: Role = Field(description="prefill or decode")
    resource: ClassVar[Resource] = Resource("serving.kserve.io", "v1alpha2", "llminferenceservices")
    may_mark_pods: ClassVar[bool] = True  # where the child is a Deployment

    def reading(self, found: Json, target: Target) -> Reading:
        """Never used: there always is a child."""
        raise NotImplementedError

    def child(self, found: Json) -> PoolKind:
        """Return the Deployment, or with workers the LeaderWorkerSet, that holds the pods."""
        suffix = "-prefill" if self.role is Role.PREFILL else ""
        if dig(self._part(found), "worker") is not None:
            return LeaderWorkerSet(
                kind="LeaderWorkerSet",
                namespace=self.namespace,
                name=f"{self.name}-kserve-mn{suffix}",
            )
        return Deployment(
            kind="Deployment", namespace=self.namespace, name=f"{self.name}-kserve{suffix}"
        )

    def owning(self, found: Json, target: Target, child: Reading) -> Reading:
        """Write to the service where it sets replicas; stand back where it scales by itself."""
        part = self._part(found)
        if part.get("scaling") is not None:
            return replace(child, writer=f"the autoscaling that {target.name} configures itself")
        if part.get("replicas") is None:
            return child
        path = (
            ("spec", "prefill", "replicas") if self.role is Role.PREFILL else ("spec", "replicas")
        )
        return replace(
            child,
            desired=int(part["replicas"]),
            write=Write(target=target, via_scale=False, path=path),
        )

    def _part(self, found: Json) -> Json:
        spec = found.get("spec") or {}
        part = spec.get("prefill") if self.role is Role.PREFILL else spec
        return part if isinstance(part, dict) else {}

    def permissions(self) -> tuple[Permission, ...]:
        """Both ways of writing, and both kinds of child: the object chooses."""
        main = Permission(self.resource.group, self.resource.plural, ("get", "patch"))
        return main, *scalable(Deployment.resource), *scalable(LeaderWorkerSet.resource)
