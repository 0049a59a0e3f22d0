"""A Prometheus-compatible server, through prometheus-api-client.

That library is synchronous, bounds no answer as a whole, retries for seconds and drops warnings.
So: one session per request, in a thread, with connections that are cut at a deadline, without
retries, and a hook that sees the whole response. A fresh session also reads tokens anew, as
Kubernetes rotates them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from planner.metrics.access import headers
from planner.metrics.config import MetricsConfig

Rows = Iterable[Any]  # as the library returns them: decoded JSON
Ask = Callable[[PrometheusConnect], Rows]

_CREDENTIALS = "check metrics.access, such as bearer_token_file, and what its owner may read"
_REFUSALS = {
    401: f"refused the request (401): {_CREDENTIALS}",
    403: f"refused the request (403): {_CREDENTIALS}",
    404: "has no query API there (404): does metrics.url lack a path prefix?",
}


class ServerError(Exception):
    """The server gave no usable answer; the text says why and what would be right."""


class QueryRefusedError(ServerError):
    """The server is well, but not the query."""


@dataclass(frozen=True, slots=True)
class Row:
    """One series of an answer: its labels and its points, (time in seconds, value)."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered, and what it warned of."""

    rows: tuple[Row, ...]
    warnings: tuple[str, ...]


class Server:
    """Asks one server, off the event loop, for at most the configured time."""

    def __init__(self, config: MetricsConfig) -> None:
        self._config = config
        self.url = str(config.url).rstrip("/")
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="prometheus")
        if not config.access.verify_tls:
            # It was asked for, so a warning at each request says nothing new.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    async def ask(self, ask: Ask) -> Reply:
        """Call the library; ServerError or QueryRefusedError say why there is no answer."""
        loop = asyncio.get_running_loop()
        wire = _Wire()
        try:
            async with asyncio.timeout(self._config.deadline_seconds):
                return await loop.run_in_executor(self._pool, self._request, ask, wire)
        except (requests.RequestException, OSError, ValueError) as error:
            raise ServerError(self._explain(error)) from error
        finally:
            wire.cut()

    def close(self) -> None:
        """Forget requests that are under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _request(self, ask: Ask, wire: _Wire) -> Reply:
        warnings: list[str] = []

        def see(response: requests.Response, **_: object) -> None:
            warnings.extend(self._envelope(response))

        with requests.Session() as session:
            self._identify(session)
            session.hooks["response"].append(see)
            client = PrometheusConnect(
                self.url, session=session, timeout=self._config.deadline_seconds
            )
            session.mount(self.url, wire)  # the client has mounted one of its own just now
            rows = tuple(rows_of(ask(client)))
        return Reply(rows, tuple(warnings))

    def _identify(self, session: requests.Session) -> None:
        access = self._config.access
        session.auth = _SentHeaders(headers(access))
        session.verify = str(access.ca_file) if access.ca_file else access.verify_tls
        if access.client_certificate_file:
            key = access.client_key_file or access.client_certificate_file
            session.cert = (str(access.client_certificate_file), str(key))

    def _envelope(self, response: requests.Response) -> Sequence[str]:
        """Check a response around its result and return its warnings."""
        if not response.ok:
            self._refuse(response)
        body = response.json()
        if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
            raise ValueError("its answer is not Prometheus'")  # noqa: TRY004 - data, not a bug
        partial = ["the answer is partial"] if body.get("isPartial") is True else []
        return [*map(str, body.get("warnings") or ()), *partial]

    def _refuse(self, response: requests.Response) -> None:
        try:
            error = str(response.json()["error"])
        except (ValueError, KeyError, TypeError):
            error = response.reason
        status = response.status_code
        if status in (400, 422):
            raise QueryRefusedError(error)
        failure = f"failed ({status}): {error}"
        raise ServerError(f"Prometheus at {self.url} {_REFUSALS.get(status, failure)}")

    def _explain(self, error: Exception) -> str:
        """Say what failed and what would be right."""
        server = f"Prometheus at {self.url}"
        match error:
            case TimeoutError() | requests.Timeout():
                return (
                    f"{server} did not answer within {self._config.deadline_seconds:g} s "
                    "(metrics.deadline_seconds)"
                )
            case requests.exceptions.SSLError():
                cause = _cause(error)
                # An alert is what the other side says of our certificate, or of its absence.
                wrong = "client_certificate_file" if "alert" in cause else "ca_file"
                return f"{server} fails in TLS, check metrics.access.{wrong}: {cause}"
            case requests.JSONDecodeError():
                return f"{server} did not answer in JSON: is metrics.url a proxy or a login page?"
            case requests.ConnectionError():
                return f"{server} cannot be reached, check metrics.url: {_cause(error)}"
        return f"{server} cannot be used: {error}"


class _Wire(HTTPAdapter):
    """Connections that can be cut, whatever they are at.

    The timeout of requests is one of each read: a server that sends a byte a second keeps within
    it for hours, and would keep a thread for as long.
    """

    def __init__(self) -> None:
        super().__init__(max_retries=0)
        self._opened: list[Any] = []

    def get_connection_with_tls_context(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401
        """The pool for a request; what it opens is remembered."""
        pool = super().get_connection_with_tls_context(*args, **named)
        opening: Any = pool.ConnectionCls

        def opened(*args: Any, **named: Any) -> Any:  # noqa: ANN401 - as the library has it
            connection = opening(*args, **named)
            self._opened.append(connection)
            return connection

        pool.ConnectionCls = opened  # type: ignore[assignment]
        return pool

    def cut(self) -> None:
        """End what is still open; the thread that reads from it finds the end."""
        for connection in self._opened:
            if connection.sock is not None:
                with contextlib.suppress(OSError):  # the other side, or its own thread, was quicker
                    connection.sock.shutdown(socket.SHUT_RDWR)


class _SentHeaders(AuthBase):
    """Sends headers; as an `auth` it also keeps requests from taking a password of ~/.netrc."""

    def __init__(self, sent: Mapping[str, str]) -> None:
        self._sent = sent

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._sent)
        return request


def rows_of(rows: Rows) -> Iterator[Row]:
    """Read vectors and matrices; values are strings, NaN and Inf among them.

    ValueError if they are anything else, or without a point.
    """
    try:
        for row in rows:
            values = row["values"] if "values" in row else [row["value"]]
            labels = {str(name): str(value) for name, value in row["metric"].items()}
            points = tuple((float(at), float(value)) for at, value in values)
            if not points:
                raise ValueError("its answer has a series without a point")
            yield Row(labels, points)
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError("its answer is no vector") from error


def _cause(error: BaseException) -> str:
    """The innermost reason of a connection error, such as "Connection refused"."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
