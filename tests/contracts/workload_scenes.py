"""Every kind of workload, by name."""

from __future__ import annotations

from workload_scene import GPU_POD
from workload_scenes_apart import anything, apps, grove, leader_worker_set, storm_replicas
from workload_scenes_joined import (
    disaggregated_set,
    dynamo,
    llm_inference_service,
    role_based_group,
    storm_pool,
)

SCENES = {
    "deployment": apps("Deployment"),
    "statefulset": apps("StatefulSet"),
    "leaderworkerset": leader_worker_set(),
    "disaggregatedset-static": disaggregated_set(external=False),
    "disaggregatedset-external": disaggregated_set(external=True),
    "podclique": grove("PodClique", "podcliques", {"podSpec": GPU_POD}, 4, "updateProgress"),
    "podcliquescalinggroup": grove(
        "PodCliqueScalingGroup", "podcliquescalinggroups", {}, None, "rollingUpdateProgress"
    ),
    "dynamo-v1beta1": dynamo("v1beta1", adapter=False),
    "dynamo-v1beta1-adapter": dynamo("v1beta1", adapter=True),
    "dynamo-v1alpha1": dynamo("v1alpha1", adapter=False),
    "dynamo-v1alpha1-adapter": dynamo("v1alpha1", adapter=True),
    "stormservice-pool": storm_pool(),
    "stormservice-replicas": storm_replicas(),
    "llminferenceservice-owner": llm_inference_service(owned=True),
    "llminferenceservice-child": llm_inference_service(owned=False),
    "scale": anything(),
    "rolebasedgroup": role_based_group(adapter=False),
    "rolebasedgroup-adapter": role_based_group(adapter=True),
}
