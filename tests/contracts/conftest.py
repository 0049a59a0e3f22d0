"""Servers that the contract suites run on: the double, and a real one where there is one."""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import kmock
import pytest
from deployments import DEPLOYMENTS, deployment
from kube_apiserver import ASSETS, RealServer, client_of, running
from kube_double import ApiServer
from workload_scenes import SCENES
from workload_stages import ACCOUNT, DoubleStage, RealStage, Stage, define_kinds

from planner.kube import Kube, KubeSettings, connect
from planner.workloads.config import WorkloadConfig, make_workload
from policies.types import Role

REAL = pytest.mark.skipif(
    ASSETS is None, reason="KUBEBUILDER_ASSETS does not point to kube-apiserver and etcd"
)


def stages_of(*names: str) -> list:
    """Scenes on both servers; by server first, so that the real one starts once."""
    return [
        pytest.param((server, name), id=f"{name}-{server}", marks=REAL if server == "real" else ())
        for server in ("double", "real")
        for name in names
    ]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """One server for all scenes."""
    with running(tmp_path_factory.mktemp("apiserver"), ACCOUNT) as server:
        asyncio.run(define_kinds(server))
        yield server


@pytest.fixture
async def clients(real: RealServer) -> AsyncIterator[tuple[Kube, Kube]]:
    """An administrator of the real server, and the planner's service account."""
    admin, planner = await real.client("admin"), await real.client(ACCOUNT)
    yield admin, planner
    await admin.close()
    await planner.close()


@pytest.fixture
async def admin_of_double(api_server: tuple[ApiServer, Kube], tmp_path: Path):
    """A client of the double that may do everything."""
    admin = await client_of(api_server[0].url, "admin", tmp_path)
    yield admin
    await admin.close()


@pytest.fixture(params=stages_of(*SCENES))
def bare(request: pytest.FixtureRequest) -> DoubleStage | RealStage:
    """A scene on a server; on the real one its objects are yet to be created."""
    server, name = request.param
    scene = copy.deepcopy(SCENES[name])
    if server == "double":
        admin = request.getfixturevalue("admin_of_double")
        return DoubleStage(scene, *request.getfixturevalue("api_server"), admin)
    return RealStage(scene, *request.getfixturevalue("clients"))


@pytest.fixture
async def stage(bare: DoubleStage | RealStage) -> Stage:
    """The same with its objects, and with the Role that is generated for it."""
    if isinstance(bare, RealStage):
        await bare.set_up()
        await bare.grant()
    return bare


@pytest.fixture
def deadline_seconds() -> float:
    """Longest wait of the client; a test of hanging servers overrides it."""
    return 10.0


@pytest.fixture
async def api_server(deadline_seconds: float) -> AsyncIterator[tuple[ApiServer, Kube]]:
    """A server double and a client that reaches it over HTTP."""
    server = ApiServer()

    async def handle(request: kmock.Request) -> kmock.Response:
        if server.hang and re.search(server.hang, f"{request.method.value} {request.url.path}"):
            await asyncio.Event().wait()
        return server.answer(request)

    async with kmock.RawHandler() as handler, kmock.Server(handler) as listening:
        handler[re.compile("/.*")] << handle
        url = f"http://127.0.0.1:{listening.port}"
        server.url = url
        kube = await connect(KubeSettings(api_server=url, deadline_seconds=deadline_seconds))
        yield server, kube
        await kube.close()


@pytest.fixture
def pair(api_server):
    server, kube = api_server
    server.serve(DEPLOYMENTS, scale=True)
    for role, replicas in ((Role.PREFILL, 2), (Role.DECODE, 4)):
        server.put(DEPLOYMENTS, deployment(role, replicas))
    config = WorkloadConfig.model_validate(
        {
            "namespace": "llm",
            "prefill": {"kind": "Deployment", "name": "vllm-prefill"},
            "decode": {"kind": "Deployment", "name": "vllm-decode"},
        }
    )
    return server, make_workload(config, kube)
