"""Credentials that expire while the planner runs: a cloud's tokens last a quarter of an hour."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from planner.kube import PODS, Kube, KubeError, KubeSettings, Target, connect

POD = Target(PODS, "llm", "p-0")


class Guarding:
    """Knows one token at a time."""

    def __init__(self) -> None:
        self.accepted = "old"
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["Authorization"].removeprefix("Bearer "))
        known = self.asked[-1] == self.accepted
        return web.json_response({"message": "Unauthorized"}, status=200 if known else 401)


def write(file: Path, server: TestServer, token: str) -> None:
    parts = {
        "clusters": [{"name": "c", "cluster": {"server": str(server.make_url("/"))}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **parts}))


async def refused(api: Kube) -> str:
    with pytest.raises(KubeError) as caught:
        await api.get(POD)
    assert caught.value.status == 401
    return str(caught.value)


@contextlib.asynccontextmanager
async def connected(file: Path) -> AsyncIterator[tuple[Guarding, TestServer, Kube]]:
    """A guarding server, and a client that reads what is accepted from a file."""
    guarding, app = Guarding(), web.Application()
    app.router.add_get("/{path:.*}", guarding.answer)
    async with TestServer(app) as server:
        write(file, server, "old")
        api = await connect(KubeSettings(kubeconfig=file))
        yield guarding, server, api
        await api.close()


async def test_credentials_that_expired_are_read_anew_and_only_once(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    async with connected(file) as (guarding, server, api):
        await api.get(POD)
        guarding.accepted = "new"
        write(file, server, "new")
        await asyncio.gather(*(api.get(POD) for _ in range(3)))
        assert guarding.asked[-3:] == ["new"] * 3
        guarding.accepted = "revoked"
        guarding.asked.clear()
        assert "does not accept the planner's credentials" in await refused(api)
        assert guarding.asked == ["new"] * 2


async def test_credentials_that_cannot_be_read_anew_are_named(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    async with connected(file) as (guarding, _, api):
        guarding.accepted = "new"
        file.unlink()
        told = await refused(api)
    assert "the credentials cannot be read anew: no way to reach" in told
    assert f"there is no kubeconfig {file}. Run inside a cluster, or set" in told
