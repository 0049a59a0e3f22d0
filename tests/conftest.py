"""Shared by all tests: programs from outside Python are asked for by a marker."""

from __future__ import annotations

import os
import shutil

import pytest

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
