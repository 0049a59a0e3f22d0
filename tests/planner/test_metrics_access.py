"""Credentials reach the server, through both sources."""

from __future__ import annotations

import ssl
from base64 import b64encode
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


async def ask(kind: str, access: dict[str, object], context: ssl.SSLContext | None = None):
    """Observe once; return the problems and the headers that the server saw."""
    guarded = Guarded()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", guarded.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    url = f"http{'s' if context else ''}://127.0.0.1:{runner.addresses[0][1]}"
    config = MetricsConfig.model_validate(
        {
            "source": kind,
            "url": url,
            "scrape": {"pages": [{"url": f"{url}/metrics"}]},
            "model": "m",
            "access": access,
        }
    )
    source = make_source(config)
    try:
        seen = await source.observe(0.0)
    finally:
        await source.close()
        await runner.cleanup()
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
