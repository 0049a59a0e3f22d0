"""Whose metrics pages to read: a fixed list, or the pods that a label selects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from planner.metrics.config import MetricsConfig, PodPages, StaticPage

if TYPE_CHECKING:
    from kubernetes.aio.client import CoreV1Api, V1Pod


@dataclass(frozen=True, slots=True)
class Target:
    """One metrics page, and the labels that a PodMonitor would give its series."""

    url: str
    labels: frozenset[tuple[str, str]]


class Discovery(Protocol):
    """Finds the pages to read."""

    async def targets(self) -> tuple[Target, ...]:
        """List them as of now; raises OSError with words for the operator if it cannot."""

    async def close(self) -> None:
        """Release connections."""


class StaticPages:
    """The pages of a list."""

    def __init__(self, pages: tuple[StaticPage, ...], namespace: str | None) -> None:
        scope = [("namespace", namespace)] if namespace else []
        self._targets = tuple(
            Target(
                str(page.url),
                frozenset([*scope, *page.labels.items(), ("pod", page.pod or _host(page))]),
            )
            for page in pages
        )

    async def targets(self) -> tuple[Target, ...]:
        """List the pages."""
        return self._targets

    async def close(self) -> None:
        """Nothing to release."""


def _host(page: StaticPage) -> str:
    return f"{page.url.host}:{page.url.port}"


class LabelledPods:
    """The running pods of a namespace that label selectors choose, from the Kubernetes API.

    Connects at the first use: with the pod's service account, else with the user's kubeconfig.
    """

    def __init__(
        self, namespace: str, pages: tuple[PodPages, ...], core_v1: CoreV1Api | None = None
    ) -> None:
        self._namespace = namespace
        self._pages = pages
        self._core_v1 = core_v1

    async def targets(self) -> tuple[Target, ...]:
        """List the pages of all running pods that are not being deleted."""
        core_v1 = self._core_v1 = self._core_v1 or await _connect()
        found = [
            _target(pod, page, self._namespace)
            for page in self._pages
            for pod in await self._pods(core_v1, page)
        ]
        return tuple(target for target in found if target is not None)

    async def _pods(self, core_v1: CoreV1Api, page: PodPages) -> list[V1Pod]:
        import aiohttp
        from kubernetes.aio.client import ApiException

        wanted = f"pods with {page.selector!r} in namespace {self._namespace!r}"
        try:
            answer = await core_v1.list_namespaced_pod(
                self._namespace, label_selector=page.selector, _request_timeout=5
            )
        except ApiException as error:
            raise OSError(
                f"{wanted} cannot be listed: {error.status} {error.reason}; "
                "the planner needs the permission to list pods there"
            ) from error
        except TimeoutError as error:
            raise OSError(f"{wanted} cannot be listed: no answer within 5 s") from error
        except aiohttp.ClientError as error:
            raise OSError(f"{wanted} cannot be listed: {error}") from error
        return list(answer.items)

    async def close(self) -> None:
        """Release connections."""
        if self._core_v1 is not None:
            await self._core_v1.api_client.close()


async def _connect() -> CoreV1Api:
    from kubernetes.aio import client, config

    try:
        config.load_incluster_config()  # type: ignore[no-untyped-call]
    except config.ConfigException:
        try:
            await config.load_kube_config()  # type: ignore[no-untyped-call]
        except config.ConfigException as error:
            raise OSError(f"no Kubernetes cluster is configured: {error}") from error
    return client.CoreV1Api(client.ApiClient())


def _target(pod: V1Pod, page: PodPages, namespace: str) -> Target | None:
    """The page of a pod that runs and is not being deleted."""
    metadata, status = pod.metadata, pod.status
    if metadata is None or status is None or metadata.deletion_timestamp is not None:
        return None
    if status.phase != "Running" or not status.pod_ip:
        return None
    host = f"[{status.pod_ip}]" if ":" in status.pod_ip else status.pod_ip
    return Target(
        f"{page.scheme}://{host}:{page.port}{page.path}",
        frozenset({("namespace", namespace), ("pod", metadata.name or status.pod_ip)}),
    )


class Together:
    """Several ways of finding pages, one after another."""

    def __init__(self, parts: tuple[Discovery, ...]) -> None:
        self._parts = parts

    async def targets(self) -> tuple[Target, ...]:
        """List the pages of all parts, each address once."""
        found = [target for part in self._parts for target in await part.targets()]
        return tuple({target.url: target for target in found}.values())

    async def close(self) -> None:
        """Release connections."""
        for part in self._parts:
            await part.close()


def discovery_of(config: MetricsConfig) -> Discovery:
    """Build what the configuration asks for."""
    scrape, parts = config.scrape, list[Discovery]()
    if scrape.pages:
        parts.append(StaticPages(scrape.pages, config.namespace))
    if scrape.pods and config.namespace:
        parts.append(LabelledPods(config.namespace, scrape.pods))
    return Together(tuple(parts))
