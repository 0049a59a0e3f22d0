"""A real kube-apiserver with its etcd, from the binaries that KUBEBUILDER_ASSETS points to."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crds import kind_of

from planner.kube import Json, Kube, KubeError, KubeSettings, Resource, Target, connect

ASSETS = os.environ.get("KUBEBUILDER_ASSETS")
NAMESPACES = Resource("", "v1", "namespaces")
_PATIENCE_SECONDS = 60.0


class RealServer:
    """Where it listens, and clients of it by user."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port

    async def client(self, user: str) -> Kube:
        """Connect as a user, whose name is its token."""
        return await client_of(f"https://127.0.0.1:{self._port}", user, self._folder)


async def client_of(url: str, user: str, folder: Path) -> Kube:
    """Connect as a user, whose name is its token, through a kubeconfig."""
    file = folder / f"{user.replace(':', '-')}.kubeconfig"
    cluster = {"server": url, "insecure-skip-tls-verify": True}
    file.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {"token": user}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return await connect(KubeSettings(kubeconfig=file, deadline_seconds=10.0))


@contextmanager
def running(folder: Path, service_account: str) -> Iterator[RealServer]:
    """Run both programs until the block ends; `service_account` is a user and its own token."""
    assert ASSETS is not None
    programs = Path(ASSETS)
    etcd_port, peer_port, port = (_free_port() for _ in range(3))
    key = _key_file(folder)
    users = ("admin,admin,admin,system:masters", f"{service_account},{service_account},planner")
    (folder / "tokens.csv").write_text("\n".join(users) + "\n")
    etcd = f"http://127.0.0.1:{etcd_port}"
    peer = f"http://127.0.0.1:{peer_port}"
    commands = [
        [
            str(programs / "etcd"),
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync=true",
        ],
        [
            str(programs / "kube-apiserver"),
            f"--etcd-servers={etcd}",
            f"--cert-dir={folder / 'certificates'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--disable-admission-plugins=ServiceAccount",
        ],
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (folder / f"{Path(command[0]).name}.log").open("wb") as output:
                started.append(subprocess.Popen(command, cwd=folder, stdout=output, stderr=output))
        yield RealServer(folder, port)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def until_present(api: Kube, resource: Resource) -> None:
    """Wait until a resource is served: the server itself, or a definition just made."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            try:
                await api.find(resource, None)
            except KubeError:
                await asyncio.sleep(0.2)  # nothing to wait on: there is no event before it listens
            else:
                return


async def put(api: Kube, resource: Resource, found: Json) -> None:
    """Create an object, and its status, which a create leaves out."""
    meta = found["metadata"]
    body = {"apiVersion": resource.api_version, **found}
    if "." in resource.group:  # a built-in kind is known from the path, a defined one is not
        body["kind"] = kind_of(resource.plural)
    await api.create(resource, meta.get("namespace"), body)
    if found.get("status"):
        target = Target(resource, meta.get("namespace"), meta["name"])
        await api.patch(target, {"status": found["status"]}, "status")


def _key_file(folder: Path) -> Path:
    """Make a key for service account tokens, which nothing here uses but the server wants."""
    file = folder / "service-accounts.key"
    subprocess.run(
        ["openssl", "genrsa", "-out", str(file), "2048"],  # noqa: S607 - the one on the PATH
        check=True,
        capture_output=True,
    )
    return file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
