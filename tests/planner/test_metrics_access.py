"""Credentials reach the server, through both sources."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from pydantic import ValidationError

from planner.metrics.config import Access, MetricsConfig, make_source

VECTOR = {"data": {"result": []}}
PAGE = "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 1\n"


class Guarded:
    """A server that keeps the headers it was sent."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        if request.path.endswith("/metrics"):
            return web.Response(text=PAGE)
        return web.json_response(VECTOR)


@contextlib.asynccontextmanager
async def guarding(
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[tuple[str, Guarded]]:
    guarded = Guarded()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", guarded.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        scheme = "https" if context else "http"
        yield f"{scheme}://127.0.0.1:{runner.addresses[0][1]}", guarded
    finally:
        await runner.cleanup()


def config(kind: str, url: str, access: dict[str, object]) -> MetricsConfig:
    return MetricsConfig.model_validate(
        {
            "source": kind,
            "url": url,
            "scrape": {"pages": [{"url": f"{url}/metrics"}]},
            "model": "m",
            "access": access,
        }
    )


async def ask(kind: str, access: dict[str, object], context: ssl.SSLContext | None = None):
    """Observe once; return the problems and the headers that the server saw."""
    async with guarding(context) as (url, guarded):
        source = make_source(config(kind, url, access))
        seen = await source.observe(0.0)
        await source.close()
    return " ".join(seen.problems), guarded.headers


both = pytest.mark.parametrize("kind", ["prometheus", "scrape"])


@both
async def test_basic_authentication_and_more_headers(kind: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    access = {
        "username": "planner",
        "password_file": tmp_path / "password",
        "headers": {"X-Scope-OrgID": "team-a"},
    }
    _, sent = await ask(kind, access)
    assert sent
    for headers in sent:
        assert headers["Authorization"] == f"Basic {b64encode(b'planner:s3cret').decode()}"
        assert headers["X-Scope-OrgID"] == "team-a"


@both
async def test_a_missing_file_is_named(kind: str, tmp_path: Path) -> None:
    problems, sent = await ask(kind, {"bearer_token_file": tmp_path / "token"})
    assert str(tmp_path / "token") in problems
    assert not sent


@both
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"s3cret\nline", id="two-lines"),
        pytest.param(b"s3cret\0", id="a-zero-byte"),
        pytest.param("s3cret€".encode(), id="not-ascii"),
        pytest.param(b"s3cret\xff", id="no-text"),
        pytest.param(b" \n", id="empty"),
    ],
)
async def test_a_file_without_a_usable_secret_is_named_and_not_quoted(
    kind: str, content: bytes, tmp_path: Path
) -> None:
    (tmp_path / "token").write_bytes(content)
    problems, sent = await ask(kind, {"bearer_token_file": tmp_path / "token"})
    assert f"{tmp_path / 'token'} must hold one line" in problems
    assert "s3cret" not in problems
    assert not sent


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def serving_as(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@both
async def test_a_private_authority_is_trusted_when_named(
    kind: str, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    problems, sent = await ask(kind, {}, serving_as(authority))
    assert "certificate verify failed" in problems
    assert not sent
    _, sent = await ask(kind, {"ca_file": tmp_path / "ca.pem"}, serving_as(authority))
    assert sent
    _, sent = await ask(kind, {"verify_tls": False}, serving_as(authority))
    assert sent


@both
async def test_an_own_certificate_is_shown(
    kind: str, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("planner").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "planner.pem")
    )
    context = serving_as(authority)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    trusted = {"ca_file": tmp_path / "ca.pem"}
    problems, sent = await ask(kind, trusted, context)
    assert problems
    assert not sent
    shown = {**trusted, "client_certificate_file": tmp_path / "planner.pem"}
    _, sent = await ask(kind, shown, context)
    assert sent


@both
async def test_a_rotated_token_is_read_again(kind: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    async with guarding() as (url, guarded):
        source = make_source(config(kind, url, {"bearer_token_file": token}))
        for text in ("old\n", "new\n"):
            token.write_text(text)
            await source.observe(0.0)
        await source.close()
    sent = [headers["Authorization"] for headers in guarded.headers]
    assert list(dict.fromkeys(sent)) == ["Bearer old", "Bearer new"]


@pytest.mark.program("prometheus")
async def test_a_real_server_lets_in_whoever_shows_certificate_and_password(
    authority: trustme.CA, start_prometheus: Callable[..., str], tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own = authority.issue_cert("127.0.0.1")
    own.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "server.pem"))
    authority.issue_cert("planner").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "planner.pem")
    )
    (tmp_path / "password").write_text("s3cret")
    web_config = {
        "tls_server_config": {
            "cert_file": str(tmp_path / "server.pem"),
            "key_file": str(tmp_path / "server.key"),
            "client_ca_file": str(tmp_path / "ca.pem"),
            "client_auth_type": "RequireAndVerifyClientCert",
        },
        "basic_auth_users": {"planner": _BCRYPT_OF_S3CRET},
    }
    url = await asyncio.to_thread(start_prometheus, web=web_config)
    certified = {
        "ca_file": tmp_path / "ca.pem",
        "client_certificate_file": tmp_path / "planner.pem",
    }
    named = {"username": "planner", "password_file": tmp_path / "password"}
    for access, words in (
        ({"ca_file": tmp_path / "ca.pem", **named}, "check metrics.access.client_certificate_file"),
        (certified, "refused the request (401): check metrics.access"),
        ({**certified, **named}, "no data at all"),
    ):
        source = make_source(config("prometheus", url, access))
        seen = await source.observe(0.0)
        await source.close()
        assert words in " ".join(seen.problems)


_BCRYPT_OF_S3CRET = "$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG"


@pytest.mark.parametrize(
    ("section", "words"),
    [
        pytest.param({"username": "a"}, "belong together", id="name-without-password"),
        pytest.param(
            {"username": "a", "password_file": "p", "bearer_token_file": "t"}, "not both", id="two"
        ),
        pytest.param({"client_key_file": "k"}, "client_certificate_file", id="key-alone"),
    ],
)
def test_inconsistent_credentials_are_errors(section: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Access.model_validate(section)
