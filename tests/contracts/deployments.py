"""A pair of Deployments as an API server tells of them."""

from __future__ import annotations

from planner.workloads.deployment import Deployment
from policies.types import Role

NOW = 1_700_000_000.0  # 2023-11-14T22:13:20Z
DEPLOYMENTS = Deployment.resource


def deployment(role: Role, desired: int, **status: int) -> dict:
    labels = {"app": "vllm", "role": role}
    counts = {"replicas": desired, "readyReplicas": desired, "updatedReplicas": desired}
    limits = {"nvidia.com/gpu": "2"}
    return {
        "metadata": {"namespace": "llm", "name": f"vllm-{role}"},
        "spec": {
            "replicas": desired,
            "selector": {"matchLabels": labels},
            "template": {"spec": {"containers": [{"resources": {"limits": limits}}]}},
        },
        "status": {**counts, "observedGeneration": 1, **status},
    }


def pod(name: str, role: Role, *, created: str, ready: bool = True, **extra: str) -> dict:
    conditions = [{"type": "Ready", "status": str(ready), "lastTransitionTime": created}]
    return {
        "metadata": {
            "namespace": "llm",
            "name": name,
            "labels": {"app": "vllm", "role": role},
            "creationTimestamp": created,
            **extra,
        },
        "status": {"phase": "Running", "conditions": conditions},
    }
