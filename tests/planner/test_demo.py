import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from planner.__main__ import main

pytestmark = pytest.mark.slow

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Twenty minutes of traffic: one request every 2 s, 1,000 tokens in and 100 out."""
    rows = [f"2024-01-01 00:{s // 60:02}:{s % 60:02}.0000000,1000,100" for s in range(0, 1200, 2)]
    path = tmp_path / "steady.csv"
    path.write_text("\n".join([HEADER, *rows, ""]))
    return path


def demo(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, float]:
    assert main(["demo", "--headless", "--json", *arguments]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    answer: dict[str, float] = json.loads(line)
    return answer


def test_the_summary_has_every_figure(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    answer = demo(capsys, "--trace", str(trace), "--rate-scale", "1")
    assert answer["requests"] == 600
    assert answer["unfinished_requests"] == 0
    assert answer["joint_attainment"] == answer["ttft_attainment"] == answer["itl_attainment"] == 1
    assert answer["trace"] == "steady"
    assert answer["rate_scale"] == 1
    assert answer["wall_seconds"] > 0
    assert answer["scaling_events"] == 0


def test_a_steady_load_costs_what_a_static_fleet_of_its_size_costs(
    capsys: pytest.CaptureFixture[str], trace: Path
) -> None:
    answer = demo(capsys, "--trace", str(trace), "--rate-scale", "1")
    # One replica each, one GPU each, from 0 s to the last token after 1198 s.
    assert 2 * 1198 / 3600 <= answer["gpu_hours"] <= 2 * 21 / 60
    assert 2 * 1198 / 3600 <= answer["static_peak_gpu_hours"] <= 2 * 21 / 60


def test_a_front_end_follows_the_rate(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    arguments = ["--trace", str(trace), "--rate-scale", "80", "--router", "15"]
    assert main(["demo", "--headless", "--json", *arguments]) == 0
    # 40 requests/s at 15 a replica; the demo starts with one.
    assert "scale router 1->3: sized for" in capsys.readouterr().err


def test_a_larger_rate_is_more_requests_and_more_replicas(
    capsys: pytest.CaptureFixture[str], trace: Path
) -> None:
    small = demo(capsys, "--trace", str(trace), "--rate-scale", "1")
    large = demo(capsys, "--trace", str(trace), "--rate-scale", "80")
    assert large["requests"] == 80 * small["requests"]
    assert large["gpu_hours"] > small["gpu_hours"]


def test_a_demo_repeats_to_the_last_digit(capsys: pytest.CaptureFixture[str], trace: Path) -> None:
    def once() -> dict[str, float]:
        answer = demo(capsys, "--trace", str(trace), "--rate-scale", "7.5", "--seed", "3")
        return {**answer, "wall_seconds": 0.0}

    assert once() == once()


def test_a_line_per_decision_and_a_table_are_for_people(
    capsys: pytest.CaptureFixture[str], trace: Path
) -> None:
    assert main(["demo", "--headless", "--trace", str(trace), "--rate-scale", "1"]) == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"^0:\d\d:\d0 .* req/s ", out, re.MULTILINE)) >= 120
    assert "GPU-hours" in out
    assert "saved " in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            f"{HEADER}\n2024-01-01 00:00:00.0,many,5\n", ["bad.csv", "line 2"], id="field"
        ),
        pytest.param("hello\n", ["bad.csv", "no known trace format"], id="format"),
        pytest.param("", ["bad.csv", "empty"], id="empty"),
        pytest.param(f"{HEADER}\n", ["bad"], id="no-requests"),
        pytest.param(None, ["bad.csv"], id="absent"),
    ],
)
def test_a_bad_trace_is_the_user_s_to_mend(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str | None, said: list[str]
) -> None:
    path = tmp_path / "bad.csv"
    if text is not None:
        path.write_text(text)
    assert main(["demo", "--headless", "--json", "--trace", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("planner: ")
    assert [part for part in said if part not in error] == []


def test_bad_lines_can_be_skipped_and_are_counted(
    capsys: pytest.CaptureFixture[str], trace: Path
) -> None:
    trace.write_text(trace.read_text() + "2024-01-01 00:20:00.0000000,many,5\n")
    answer = demo(capsys, "--trace", str(trace), "--rate-scale", "1", "--skip-bad-lines")
    assert (answer["requests"], answer["bad_lines"]) == (600, 1)


def test_a_busy_port_says_how_to_choose_another(
    capsys: pytest.CaptureFixture[str], trace: Path
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["demo", "--trace", str(trace), "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"127.0.0.1:{port}: it is in use" in error
    assert "--port" in error


def test_the_page_lives_during_the_run_and_ctrl_c_ends_it_with_a_summary(trace: Path) -> None:
    command = [sys.executable, "-u", "-m", "planner", "demo", "--trace", str(trace)]
    command += ["--rate-scale", "1", "--port", "0", "--speed", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    with process, process.stdout as out:
        lines = iter(out.readline, "")
        address = next(found for line in lines if (found := re.search(r"http://\S+", line)))[0]
        next(line for line in lines if "req/s" in line)
        state = json.load(urllib.request.urlopen(f"{address}/api/v1/state", timeout=10))  # noqa: S310 - loopback
        page = urllib.request.urlopen(f"{address}/", timeout=10).read()  # noqa: S310 - loopback
        process.send_signal(signal.SIGINT)
        rest = "".join(lines)
    assert process.returncode == 0
    assert state["mode"] == "demo"
    assert state["summary"]["requests"] >= 1
    assert b"<html" in page.lower()
    assert "ended early" in rest
    assert "saved " in rest
    assert "Traceback" not in rest
