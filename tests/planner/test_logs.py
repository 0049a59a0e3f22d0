import json
import subprocess
import sys

import pytest


def logged(style: str, level: str, body: str) -> list[str]:
    program = f"""
import logging, structlog
from planner import logs
logs.configure({level!r}, {style!r})
log = structlog.get_logger("planner.loop")
{body}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_json_line_carries_its_values() -> None:
    (line,) = logged("json", "info", "log.info('tick', prefill=3, why=None)")
    entry = json.loads(line)
    assert (entry["event"], entry["prefill"], entry["why"]) == ("tick", 3, None)
    assert (entry["level"], entry["logger"]) == ("info", "planner.loop")
    assert entry["timestamp"].endswith("Z")


def test_a_library_s_line_looks_like_ours() -> None:
    (line,) = logged("json", "info", "logging.getLogger('aiohttp').warning('slow %s', 'peer')")
    entry = json.loads(line)
    assert (entry["event"], entry["level"], entry["logger"]) == ("slow peer", "warning", "aiohttp")


FAILURE = """
token = "secret-" + "value"
try:
    1 / 0
except ZeroDivisionError:
    log.exception("the decision failed")
"""


def test_a_traceback_as_text_shows_no_values_of_variables() -> None:
    text = "\n".join(logged("text", "info", FAILURE))
    assert "ZeroDivisionError" in text
    assert "secret-value" not in text


def test_a_traceback_stays_one_json_line_without_values_of_variables() -> None:
    (line,) = logged("json", "info", FAILURE)
    assert json.loads(line)["exception"][0]["exc_type"] == "ZeroDivisionError"
    assert "secret-value" not in line


@pytest.mark.parametrize("style", ["json", "text"])
def test_lines_below_the_level_are_not_shown(style: str) -> None:
    lines = logged(style, "warning", "log.info('tick')\nlog.warning('port too slow')")
    assert len(lines) == 1
    assert "port too slow" in lines[0]
