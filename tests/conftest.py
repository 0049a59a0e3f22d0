"""Shared by all tests: programs from outside Python, and a real Prometheus server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings
from prometheus_client.parser import text_string_to_metric_families

# How long an example takes says something of the machine, not of the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_HINTS = {
    "prometheus": "apt-get install prometheus",
    "promtool": "apt-get install prometheus",
    "chromium": "apt-get install chromium",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("program"):
        for name in marker.args:
            if shutil.which(name):
                continue
            message = f"needs the program {name}: {_HINTS.get(name, f'put {name} on PATH')}"
            if os.environ.get("REQUIRE_ALL") == "1":
                pytest.fail(message, pytrace=False)
            pytest.skip(message)


@pytest.fixture(scope="session")
def public_trace() -> Callable[[str], Path]:
    """Path of a downloaded public trace below the folder that TRACES names; skips without it."""
    folder = os.environ.get("TRACES")

    def path(name: str) -> Path:
        if not folder:
            pytest.skip("public traces are not part of the repository; TRACES names their folder")
        found = Path(folder) / name
        if not found.exists():
            pytest.skip(f"no trace at {found}")
        return found

    return path


StartPrometheus = Callable[..., str]
Scrape = tuple[float, str, Mapping[str, str]]


@pytest.fixture(scope="session")
def start_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartPrometheus]:
    """Start servers: `start_prometheus(scrape_configs=..., past=..., web=...) -> url`.

    `past` is a list of (unix seconds, text exposition, labels to add), written into the server's
    storage; `web` is its web configuration, with TLS and the users it lets in.
    """
    with ExitStack() as servers:

        def start(
            scrape_configs: Sequence[dict[str, Any]] = (),
            past: Sequence[Scrape] = (),
            web: Mapping[str, Any] | None = None,
        ) -> str:
            folder = tmp_path_factory.mktemp("prometheus")
            return servers.enter_context(_server(folder, scrape_configs, past, web or {}))

        yield start


@contextmanager
def _server(
    folder: Path,
    scrape_configs: Sequence[dict[str, Any]],
    past: Sequence[Scrape],
    web: Mapping[str, Any],
) -> Iterator[str]:
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": list(scrape_configs),
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "web.yml").write_text(yaml.safe_dump(dict(web)))
    if past:
        (folder / "past.om").write_text(_openmetrics(past))
        subprocess.run(
            ["promtool", "tsdb", "create-blocks-from", "openmetrics", "past.om", "data"],  # noqa: S607 - found on PATH by the marker
            cwd=folder,
            check=True,
            capture_output=True,
        )
    address = f"127.0.0.1:{_free_port()}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [  # noqa: S607 - found on PATH by the marker
                "prometheus",
                f"--web.listen-address={address}",
                f"--web.config.file={folder / 'web.yml'}",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--storage.tsdb.retention.time=100y",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _await_ready(process, folder / "log")
        yield f"http{'s' if 'tls_server_config' in web else ''}://{address}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _openmetrics(past: Sequence[Scrape]) -> str:
    """One exposition of several times: families together, each sample with its time."""
    kinds: dict[str, str] = {}
    samples: dict[str, list[str]] = {}
    for seconds, text, added in past:
        for family in text_string_to_metric_families(text):
            kinds[family.name] = family.type
            for sample in family.samples:
                named = {**added, **sample.labels}
                labels = ",".join(f'{name}="{value}"' for name, value in named.items())
                line = f"{sample.name}{{{labels}}} {sample.value!r} {seconds:.3f}"
                samples.setdefault(family.name, []).append(line)
    lines = [line for name in samples for line in (f"# TYPE {name} {kinds[name]}", *samples[name])]
    return "\n".join([*lines, "# EOF", ""])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        if "Server is ready to receive web requests" in log.read_text():
            return
        time.sleep(0.05)
    pytest.fail(f"Prometheus did not start:\n{log.read_text()[-2000:]}")
