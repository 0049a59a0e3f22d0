"""Whose metrics pages to read: a fixed list, or the pods that a label selects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from planner.errors import UserError
from planner.kube import PODS, Json, Kube, KubeError, KubeSettings, connect
from planner.metrics.config import MetricsConfig, PodPages, StaticPage


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
    """The running pods of a namespace that label selectors choose; connects at the first use."""

    def __init__(
        self,
        namespace: str,
        pages: tuple[PodPages, ...],
        settings: KubeSettings,
        api: Kube | None = None,
    ) -> None:
        self._namespace = namespace
        self._pages = pages
        self._settings = settings
        self._api = api

    async def targets(self) -> tuple[Target, ...]:
        """List the pages of all running pods that are not being deleted."""
        try:
            api = self._api = self._api or await connect(self._settings)
            found = [
                _target(pod, page, self._namespace)
                for page in self._pages
                for pod in await api.find(PODS, self._namespace, page.selector)
            ]
        except (KubeError, UserError) as error:
            raise OSError(f"the pods to scrape cannot be listed: {error}") from error
        return tuple(target for target in found if target is not None)

    async def close(self) -> None:
        """Release connections."""
        if self._api is not None:
            await self._api.close()


def _target(pod: Json, page: PodPages, namespace: str) -> Target | None:
    """The page of a pod that runs and is not being deleted."""
    metadata, status = pod.get("metadata") or {}, pod.get("status") or {}
    name, address = metadata.get("name"), status.get("podIP")
    if metadata.get("deletionTimestamp") or status.get("phase") != "Running" or not address:
        return None
    host = f"[{address}]" if ":" in address else address
    return Target(
        f"{page.scheme}://{host}:{page.port}{page.path}",
        frozenset({("namespace", namespace), ("pod", str(name))}),
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
        parts.append(LabelledPods(config.namespace, scrape.pods, scrape.kubernetes))
    return Together(tuple(parts))
