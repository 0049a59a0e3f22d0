"""Pods to scrape, from an API server over HTTP."""

from __future__ import annotations

import pytest

from planner.kube import PODS, KubeSettings
from planner.metrics.config import PodPages
from planner.metrics.discovery import LabelledPods


def pod(name: str, address: str | None, phase: str = "Running", **metadata: str) -> dict:
    return {
        "metadata": {
            "name": name,
            "namespace": "llm",
            "labels": {"app": "decode"},
            **metadata,
        },
        "status": {"phase": phase, "podIP": address},
    }


@pytest.fixture
def discovery(api_server) -> LabelledPods:
    _, api = api_server
    pages = (PodPages(selector="app=decode", port=9090, path="/prometheus/metrics"),)
    return LabelledPods("llm", pages, KubeSettings(), api)


async def test_running_pods_are_found_with_the_labels_of_a_pod_monitor(
    api_server, discovery: LabelledPods
) -> None:
    server, _ = api_server
    server.put(PODS, pod("d-0", "10.0.0.7"))
    server.put(PODS, pod("d-1", "fd00::7"))
    server.put(PODS, pod("d-2", None, phase="Pending"))
    server.put(PODS, pod("d-3", "10.0.0.9", deletionTimestamp="2026-01-01T00:00:00Z"))
    targets = {target.url: dict(target.labels) for target in await discovery.targets()}
    await discovery.close()
    assert targets == {
        "http://10.0.0.7:9090/prometheus/metrics": {"namespace": "llm", "pod": "d-0"},
        "http://[fd00::7]:9090/prometheus/metrics": {"namespace": "llm", "pod": "d-1"},
    }


async def test_a_forbidden_list_says_which_permission_is_missing(
    api_server, discovery: LabelledPods
) -> None:
    server, _ = api_server
    server.fail("GET .*/pods", 403, "forbidden")
    with pytest.raises(OSError, match="verb list on resource pods"):
        await discovery.targets()
    await discovery.close()
