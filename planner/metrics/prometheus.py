"""Evaluates queries on a Prometheus-compatible server, through prometheus-api-client.

That library is synchronous, has no timeout, retries for seconds and drops warnings. So: one
session per request, in a thread, with a deadline, without retries, and a hook that sees the
whole response. A fresh session also reads tokens anew, as Kubernetes rotates them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote_plus

import requests
from prometheus_api_client import PrometheusConnect
from requests.auth import AuthBase
from urllib3.util.retry import Retry

from planner.metrics.access import headers
from planner.metrics.config import MetricsConfig
from planner.metrics.evaluator import Answers
from planner.metrics.vector import Sample

# The library sends a query in the address; proxies in front of a server often stop at 8 KiB.
_MOST_URL_BYTES = 6000
_NAME_LABEL = "pd_planner_query"
_CREDENTIALS = "check metrics.access, such as bearer_token_file, and what its owner may read"
_REFUSALS = {
    401: f"refused the request (401): {_CREDENTIALS}",
    403: f"refused the request (403): {_CREDENTIALS}",
    404: "has no query API there (404): does metrics.url lack a path prefix?",
}


class _Refused(Exception):  # noqa: N818 - a refusal is an answer, told apart by its status
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.error = error


class _SentHeaders(AuthBase):
    """Sends headers; as an `auth` it also keeps requests from taking a password of ~/.netrc."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.update(self._headers)
        return request


class PrometheusEvaluator:
    """Evaluates expressions as instant queries, many in one request."""

    def __init__(self, config: MetricsConfig) -> None:
        self._config = config
        self._url = str(config.url).rstrip("/")
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="prometheus")

    async def evaluate(self, expressions: Mapping[str, str], at_seconds: float) -> Answers:
        """Evaluate all expressions, by name, as of one time."""
        parts = await asyncio.gather(
            *(self._ask(batch, at_seconds) for batch in _batches(expressions))
        )
        vectors = {name: vector for part in parts for name, vector in part.vectors.items()}
        problems = dict.fromkeys(problem for part in parts for problem in part.problems)
        return Answers(vectors, tuple(problems))

    async def close(self) -> None:
        """Forget requests that are under way."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, batch: Mapping[str, str], at_seconds: float) -> Answers:
        """Ask for a batch; if the server refuses it, one by one, so that one bad query is one."""
        try:
            return await self._query(batch, at_seconds)
        except _Refused as refused:
            if refused.status not in (400, 422):
                return Answers({}, (self._explain(refused),))
            if len(batch) == 1:
                (name,) = batch
                return Answers({}, (f"query {name} is refused: {refused.error}",))
            return await self._ask_each(batch, at_seconds)
        except (requests.RequestException, OSError, TimeoutError, ValueError) as error:
            return Answers({}, (self._explain(error),))

    async def _ask_each(self, batch: Mapping[str, str], at_seconds: float) -> Answers:
        parts = [await self._ask({name: query}, at_seconds) for name, query in batch.items()]
        return Answers(
            {name: vector for part in parts for name, vector in part.vectors.items()},
            tuple(problem for part in parts for problem in part.problems),
        )

    async def _query(self, batch: Mapping[str, str], at_seconds: float) -> Answers:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._config.deadline_seconds):
            return await loop.run_in_executor(self._pool, self._request, batch, at_seconds)

    def _request(self, batch: Mapping[str, str], at_seconds: float) -> Answers:
        """Send one request and wait for it; runs in a thread."""
        warnings: list[str] = []

        def see(response: requests.Response, **_: object) -> None:
            warnings.extend(_envelope(response))

        with requests.Session() as session:
            self._identify(session)
            session.hooks["response"].append(see)
            client = PrometheusConnect(
                self._url,
                session=session,
                retry=Retry(total=0),
                timeout=self._config.deadline_seconds,
            )
            rows = client.custom_query(_joined(batch), params={"time": at_seconds})
        vectors: dict[str, list[Sample]] = {name: [] for name in batch}
        for name, sample in _samples(rows):
            if name not in vectors:
                raise ValueError(f"it answers {name!r}, which was not asked")
            vectors[name].append(sample)
        return Answers(
            {name: tuple(vector) for name, vector in vectors.items()},
            tuple(f"Prometheus warns: {warning}" for warning in warnings),
        )

    def _identify(self, session: requests.Session) -> None:
        access = self._config.access
        session.auth = _SentHeaders(headers(access))
        session.verify = str(access.ca_file) if access.ca_file else access.verify_tls
        if access.client_certificate_file:
            key = access.client_key_file or access.client_certificate_file
            session.cert = (str(access.client_certificate_file), str(key))

    def _explain(self, error: Exception) -> str:
        """Say what failed and what would be right."""
        server = f"Prometheus at {self._url}"
        match error:
            case _Refused():
                failure = f"failed ({error.status}): {error.error}"
                return f"{server} {_REFUSALS.get(error.status, failure)}"
            case TimeoutError() | requests.Timeout():
                return (
                    f"{server} did not answer within {self._config.deadline_seconds:g} s "
                    "(metrics.deadline_seconds)"
                )
            case requests.exceptions.SSLError():
                return f"{server} fails in TLS, check metrics.access.ca_file: {_cause(error)}"
            case requests.JSONDecodeError():
                return f"{server} did not answer in JSON: is metrics.url a proxy or a login page?"
            case requests.ConnectionError():
                return f"{server} cannot be reached, check metrics.url: {_cause(error)}"
            case _:
                return f"{server} cannot be used: {error}"


def _batches(expressions: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Group queries into as few requests as an address has room for."""
    batch: dict[str, str] = {}
    for name, query in expressions.items():
        if batch and len(quote_plus(_joined({**batch, name: query}))) > _MOST_URL_BYTES:
            yield batch
            batch = {}
        batch[name] = query
    if batch:
        yield batch


def _joined(batch: Mapping[str, str]) -> str:
    """Join queries into one that marks each result with its query's name."""
    return " or ".join(
        f'label_replace({query}, "{_NAME_LABEL}", "{name}", "", "")'
        for name, query in batch.items()
    )


def _envelope(response: requests.Response) -> Sequence[str]:
    """Check a response around its result and return its warnings."""
    if not response.ok:
        try:
            error = str(response.json()["error"])
        except (ValueError, KeyError, TypeError):
            error = response.reason
        raise _Refused(response.status_code, error)
    body = response.json()
    if not isinstance(body, dict) or not isinstance(body.get("data"), dict):
        raise ValueError("its answer is not Prometheus'")  # noqa: TRY004 - broken data, not a bug
    return [str(text) for text in body.get("warnings") or ()]


def _samples(rows: Iterable[Any]) -> Iterator[tuple[str, Sample]]:
    """Read the rows of an instant vector; values are strings, NaN and Inf among them."""
    try:
        for row in rows:
            labels = {str(name): str(value) for name, value in row["metric"].items()}
            yield labels.pop(_NAME_LABEL), Sample(labels, float(row["value"][1]))
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError("its answer is no instant vector") from error


def _cause(error: BaseException) -> str:
    """The innermost reason of a connection error, such as "Connection refused"."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
