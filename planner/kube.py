"""The one place that talks to a Kubernetes API server: JSON in, JSON out, trouble in words."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveFloat, field_validator

from planner.errors import UserError
from policies.config import Section

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient

Json = dict[str, Any]
Renewal = Callable[[], Awaitable[None]]

FIELD_MANAGER = "pd-planner"
_ATTEMPTS = 3
_BACKOFF_SECONDS = 0.2
_PAGE = 500
_RENEWAL_SECONDS = 30.0  # credentials younger than that are not what is wrong


class KubeSettings(Section):
    """How to reach the API server. With nothing set: the pod's service account, else kubeconfig."""

    api_server: str | None = Field(
        default=None, description="URL without credentials, for instance of `kubectl proxy`"
    )
    kubeconfig: Path | None = Field(default=None, description="a kubeconfig file to use instead")
    context: str | None = Field(
        default=None, description="context of the kubeconfig; unset: its current one"
    )
    deadline_seconds: PositiveFloat = Field(
        default=5.0, description="longest wait for one call, all its attempts together, seconds"
    )

    @field_validator("api_server")
    @classmethod
    def _without_credentials(cls, url: str | None) -> str | None:
        """Addresses are told in errors and in the log."""
        if url is not None and "@" in url.partition("://")[2].partition("/")[0]:
            raise ValueError("it must hold no credentials; give kubeconfig a file that has them")
        return url


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind as the API serves it; `group` is empty for the core group."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        """What objects carry as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        scope = f"namespaces/{namespace}" if namespace else ""
        parts = (root, scope, self.plural, name, subresource)
        return "/".join(part for part in parts if part)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS = Resource("", "v1", "pods")


@dataclass(frozen=True, slots=True)
class Target:
    """One object; `namespace` is None for a cluster-wide one."""

    resource: Resource
    namespace: str | None
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.resource} {where}{self.name}"


class KubeError(Exception):
    """A call that failed, in words for the operator. `status` is None when no answer came."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class _Call:
    """One request; `body` decides the patch type: a list is a JSON patch, an object a merge."""

    verb: str
    resource: Resource
    namespace: str | None
    name: str = ""
    subresource: str = ""
    query: tuple[tuple[str, str], ...] = ()
    body: Json | list[Json] | None = None

    @property
    def method(self) -> str:
        return {"patch": "PATCH", "create": "POST"}.get(self.verb, "GET")

    @property
    def content_type(self) -> str:
        if self.verb != "patch":
            return "application/json"
        return f"application/{'json' if isinstance(self.body, list) else 'merge'}-patch+json"

    @property
    def plural(self) -> str:
        """The resource as Roles name it, with its subresource."""
        return f"{self.resource.plural}/{self.subresource}".rstrip("/")

    @property
    def permission(self) -> str:
        """What a Role must grant for this call."""
        where = f"in namespace {self.namespace}" if self.namespace else "cluster-wide"
        return (
            f'verb {self.verb} on resource {self.plural} of group "{self.resource.group}" {where}'
        )


class Kube:
    """An API server. Each call ends within the deadline and raises KubeError when it fails."""

    def __init__(
        self, client: ApiClient, deadline_seconds: float, renew: Renewal | None = None
    ) -> None:
        self._client = client
        self._deadline_seconds = deadline_seconds
        self._renew = renew
        self._renewing = asyncio.Lock()
        self._renewed_at = -math.inf  # on the event loop's clock

    async def get(self, target: Target, subresource: str = "") -> Json:
        """Read one object, or a subresource of it such as `scale`."""
        return await self._request(
            _Call("get", target.resource, target.namespace, target.name, subresource)
        )

    async def find(
        self, resource: Resource, namespace: str | None, label_selector: str = ""
    ) -> list[Json]:
        """All objects that match, page after page; `namespace` None is cluster-wide."""
        items: list[Json] = []
        token = ""
        while True:
            query = [("limit", str(_PAGE)), ("labelSelector", label_selector), ("continue", token)]
            given = tuple((key, value) for key, value in query if value)
            page = await self._request(_Call("list", resource, namespace, query=given))
            items += page.get("items") or []
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return items

    async def patch(self, target: Target, body: Json | list[Json], subresource: str = "") -> Json:
        """Apply a merge patch (an object) or a JSON patch (a list) as our field manager."""
        return await self._request(
            _Call(
                "patch",
                target.resource,
                target.namespace,
                target.name,
                subresource,
                query=(("fieldManager", FIELD_MANAGER),),
                body=body,
            )
        )

    async def create(self, resource: Resource, namespace: str | None, body: Json) -> Json:
        """Create one object."""
        return await self._request(_Call("create", resource, namespace, body=body))

    async def close(self) -> None:
        """Release connections; closing twice is harmless."""
        await self._client.close()

    async def _request(self, call: _Call) -> Json:
        """Repeat while the server asks for patience (429, 5xx) and the deadline allows."""
        loop = asyncio.get_running_loop()
        until_seconds = loop.time() + self._deadline_seconds
        attempt = 0
        while True:
            attempt += 1
            status, headers, text = await self._send(call, until_seconds - loop.time())
            if status < 300:
                return _parsed(text)
            if status == 401 and attempt == 1 and await self._renewed(until_seconds):
                continue
            patience_seconds = _patience_seconds(headers, attempt)
            worth_it = status == 429 or status >= 500
            in_time = loop.time() + patience_seconds < until_seconds
            if not (worth_it and in_time and attempt < _ATTEMPTS):
                raise KubeError(_in_words(call, status, text, attempt), status)
            await asyncio.sleep(patience_seconds)

    async def _renewed(self, until_seconds: float) -> bool:
        """Read the credentials anew, once for all calls that are refused at the same time."""
        if self._renew is None:
            return False
        loop = asyncio.get_running_loop()
        async with self._renewing:
            if loop.time() - self._renewed_at < _RENEWAL_SECONDS:
                return True
            self._renewed_at = loop.time()
            try:
                async with asyncio.timeout_at(until_seconds):
                    await self._renew()
            except (UserError, TimeoutError) as error:
                why = str(error) or "not in time"
                raise KubeError(f"the credentials cannot be read anew: {why}", 401) from None
        return True

    async def _send(self, call: _Call, timeout_seconds: float) -> tuple[int, Any, str]:
        """Make one attempt."""
        import aiohttp

        method, url, headers, body, form = await self._client.param_serialize(
            call.method,
            call.resource.path(call.namespace, call.name, call.subresource),
            query_params=list(call.query),
            header_params={"Accept": "application/json", "Content-Type": call.content_type},
            body=call.body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        try:
            response = await self._client.call_api(
                method, url, headers, body, form, _request_timeout=timeout
            )
            raw = await response.read()
        except TimeoutError:
            raise KubeError(
                f"no answer from the API server within {self._deadline_seconds:g} s "
                f"({call.verb} {call.resource})"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise KubeError(f"the API server cannot be reached: {error}") from None
        return response.status, response.headers, raw.decode("utf-8", "replace")


def _parsed(text: str) -> Json:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    raise KubeError(f"the API server answered something other than an object: {text[:80]!r}")


def _patience_seconds(headers: Any, attempt: int) -> float:  # noqa: ANN401 - a foreign mapping
    """Wait as long as `Retry-After` says, else back off exponentially."""
    with suppress(KeyError, ValueError):
        return max(0.0, float(headers["Retry-After"]))
    return float(_BACKOFF_SECONDS * 2 ** (attempt - 1))


def _in_words(call: _Call, status: int, text: str, attempts: int) -> str:
    """Say what an operator can do about an answer that is an error."""
    message, named = text.strip()[:300], None
    with suppress(ValueError, AttributeError):
        answer = json.loads(text)
        message = answer.get("message") or message
        named = (answer.get("details") or {}).get("name")
    place = str(Target(call.resource, call.namespace, call.name)) if call.name else call.resource
    if status == 404 and named:
        return f"{place} was not found"
    words = {
        401: "the API server does not accept the planner's credentials",
        403: f"not allowed: the planner needs {call.permission}",
        404: f"the API server does not serve {call.plural} of {call.resource.api_version}",
        409: f"{place} was changed by somebody else meanwhile",
        422: f"{place} refused the change",
    }
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    other = f"the API server answered {status} to {call.verb} {place} in {tries}"
    return f"{words.get(status, other)}: {message}"


async def connect(settings: KubeSettings) -> Kube:
    """Make the client; UserError says what is missing. Nothing is sent yet."""
    from kubernetes.aio import client

    configuration = client.Configuration()
    renew: Renewal | None = None
    if settings.api_server is not None:
        configuration.host = settings.api_server.rstrip("/")
    elif settings.kubeconfig is not None or not _in_cluster(configuration):
        renew = partial(_load_kubeconfig, settings, configuration)
        await renew()
    return Kube(client.ApiClient(configuration), settings.deadline_seconds, renew)


async def _load_kubeconfig(settings: KubeSettings, configuration: object) -> None:
    """Take a kubeconfig's server and user; a plugin's token for a cloud lasts some minutes."""
    from kubernetes.aio import config

    names = str(settings.kubeconfig or config.KUBE_CONFIG_DEFAULT_LOCATION)
    if not _any_file(names):
        raise _no_way(f"there is no kubeconfig {names}")
    try:
        await config.load_kube_config(names, settings.context, configuration)
    except config.ConfigException as error:
        raise _no_way(str(error)) from None


def _any_file(names: str) -> bool:
    return any(Path(name).expanduser().is_file() for name in names.split(os.pathsep))


def _no_way(why: str) -> UserError:
    return UserError(
        f"no way to reach a Kubernetes API server: {why}. Run inside a cluster, or set "
        "workload.kubernetes.kubeconfig, or KUBECONFIG"
    )


def _in_cluster(configuration: object) -> bool:
    """Take the pod's service account into `configuration`, where there is one."""
    from kubernetes.aio import config

    try:
        config.load_incluster_config(configuration)
    except config.ConfigException:
        return False
    return True
