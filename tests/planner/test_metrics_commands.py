"""`planner check` and `planner trace export` against a real Prometheus with a recorded fleet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from metrics_fleet import GAUGES, serve, with_labels

from planner.__main__ import main
from planner.clock import WallClock
from planner.metrics.exposition import FleetCollector, pod_pages
from replay.requests import Requests
from replay.tally import Tally
from replay.traces import open_trace

pytestmark = [pytest.mark.program("prometheus"), pytest.mark.program("promtool")]

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture(scope="module")
def recorded(start_prometheus: Callable[..., str]) -> str:
    """The half hour that ends now, at two requests a second."""
    tally, past, now = Tally(), [], WallClock().now_seconds()
    collector = FleetCollector(lambda: (tally, GAUGES), "m")
    for scrape in range(121):
        pages = {pod: text.decode() for pod, text in pod_pages(collector).items()}
        past.append((now - 1800 + 15 * scrape, with_labels(pages), {}))
        serve(tally, 30)
    return start_prometheus(past=past)


def config_file(folder: Path, url: str, **metrics: str) -> Path:
    file = folder / "planner.yaml"
    settings = {"url": url, "model": "m", "window_seconds": "60", **metrics}
    lines = "".join(f"  {name}: {value}\n" for name, value in settings.items())
    file.write_text(
        f"metrics:\n{lines}"
        "workload:\n  namespace: llm\n"
        "  prefill: {kind: Deployment, name: p}\n  decode: {kind: Deployment, name: d}\n"
    )
    return file


def test_check_shows_every_signal_and_is_ready(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--metrics-only", "-c", str(config_file(tmp_path, recorded))]) == 0
    text = capsys.readouterr().out
    rate = next(line for line in text.splitlines() if line.startswith("requests_per_second"))
    assert rate.split()[1:3] == ["2", "requests/s"]
    assert text.splitlines()[-1].startswith("ready")
    assert without_ages(text) in without_ages(DOCUMENT.read_text())


def without_ages(text: str) -> str:
    """They are of the moment at which the test looks, and so is the width of their column."""
    text = re.sub(r"(age_seconds +)\S+", r"\1-", text)
    return re.sub(r" +", " ", re.sub(r"\d+ s  ", "- s  ", text))


@pytest.mark.parametrize(
    ("more", "says", "code"),
    [
        pytest.param(
            "profile: nothere\n", "FAILED   profile nothere: neither a file", 1, id="no-profile"
        ),
        pytest.param(
            "policy: {gpu_budget: 3, decode: {min_replicas: 4}}\n",
            "warning  policy.gpu_budget is 3, and min_replicas take 5 GPUs",
            0,
            id="a-minimum-beyond-the-budget",
        ),
    ],
)
def test_check_looks_at_what_the_pools_are_sized_with(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, says: str, code
) -> None:
    file = config_file(tmp_path, recorded)
    file.write_text(file.read_text() + more)
    assert main(["check", "--metrics-only", "-c", str(file)]) == code
    assert says in capsys.readouterr().out


def test_check_names_the_preset_that_would_fit(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config_file(tmp_path, recorded, preset="sglang")
    assert main(["check", "--metrics-only", "-c", str(file)]) == 1
    text = capsys.readouterr().out
    assert "metrics.preset: dynamo fits what runs, sglang is configured" in text
    assert "FAILED   requests_per_second" in text
    assert "metrics.queries.requests_per_second" in text


def test_check_names_the_models_that_are_served(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["check", "--metrics-only", "-c", str(config_file(tmp_path, recorded, model="n"))])
        == 1
    )
    text = capsys.readouterr().out
    assert "FAILED   metrics.model: n is not served; these are: m" in text


def test_check_recognises_no_stack_where_there_is_none(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config_file(tmp_path, recorded, namespace="elsewhere")
    assert main(["check", "--metrics-only", "-c", str(file)]) == 1
    text = capsys.readouterr().out
    assert "FAILED   no stack is recognised by its metrics, of dynamo, vllm-llmd, vllm" in text


@pytest.mark.parametrize(
    ("own", "words"),
    [
        pytest.param(
            {"queries": "{kv_usage_fraction: absent_name}"},
            "name it in metrics.lacks if it never comes",
            id="missing",
        ),
        pytest.param({"lacks": "[kv_usage_fraction]"}, "ITL stands in for it", id="lacking"),
    ],
)
def test_check_tells_what_is_missing_from_what_is_never_there(
    recorded: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    own: dict[str, str],
    words: str,
) -> None:
    assert main(["check", "--metrics-only", "-c", str(config_file(tmp_path, recorded, **own))]) == 0
    text = capsys.readouterr().out
    line = next(t for t in text.splitlines() if t.startswith("warning  kv_usage_fraction: "))
    assert words in line


def test_check_of_an_unreachable_server_fails_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config_file(tmp_path, "http://127.0.0.1:9")
    assert main(["check", "--metrics-only", "-c", str(file)]) == 1
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("FAILED   Prometheus at http://127.0.0.1:9 cannot be reached")
    assert not any("metrics.queries" in line for line in others)  # no signal is to blame
    assert "not ready" in others[-1]


def test_check_fails_when_the_pools_cannot_be_read(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = config_file(tmp_path, recorded)
    with file.open("a") as more:
        more.write("  kubernetes: {api_server: 'http://127.0.0.1:9'}\n")
    assert main(["check", "-c", str(file)]) == 1
    text = capsys.readouterr().out
    assert "FAILED   prefill pool: " in text
    assert "FAILED   decode pool: " in text


def test_an_exported_past_replays_at_its_own_rate_and_lengths(
    recorded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "past.jsonl"
    argv = ["trace", "export", "--prometheus", recorded, "--model", "m"]
    assert main([*argv, "--start", "20m", "--end", "1m", "--step", "30", "-o", str(file)]) == 0
    assert "with an arrival rate" in capsys.readouterr().out
    requests = Requests.concat(open_trace(file).chunks())
    # 19 minutes at 2/s are 2,280 +- 4 standard deviations of a Poisson count, ends included.
    assert 2280 - 4 * 48 - 60 < len(requests) < 2280 + 4 * 48 + 120
    assert requests.input_tokens.mean() == pytest.approx(1000, rel=0.01)
    assert requests.output_tokens.mean() == pytest.approx(101, rel=0.01)


def test_an_exported_past_is_what_the_planner_would_have_seen(
    recorded: str, tmp_path: Path
) -> None:
    """By a configuration file, whose access and labels a protected server needs."""
    file, out = config_file(tmp_path, recorded), tmp_path / "past.jsonl"
    argv = ["trace", "export", "-c", str(file), "--start", "5m", "--end", "1m", "-o", str(out)]
    assert main(argv) == 0
    head, *lines = out.read_text().splitlines()
    assert json.loads(head)["model"] == "m"
    assert len(lines) == 5
    for seen in map(json.loads, lines):
        assert seen["requests_per_second"] == pytest.approx(2)
        assert sum(seen["input_tokens"]["weights"]) == pytest.approx(1)
        assert seen["output_tokens"]["tokens"] == pytest.approx([101])
        assert seen["ttft"]["mean_seconds"] == pytest.approx(0.5)
        assert seen["itl"]["p95_seconds"] == pytest.approx(0.011 + 0.95 * 0.009)
        assert seen["live_pods"] == {"prefill": 3, "decode": 4}


def test_an_export_needs_a_server_and_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["trace", "export", "--model", "m", "--start", "5m", "-o", str(tmp_path / "out")]
    assert main(argv) == 2
    assert "--prometheus and --model, or a --config" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param({"--start": "yesterday"}, "no time", id="no-time"),
        pytest.param({"--start": "1h", "--end": "2h"}, "not before", id="backwards"),
        pytest.param({"--end": "inf"}, "'inf' is no time", id="endless"),
        pytest.param({"--step": "0.00001"}, "3e+07 steps", id="too-fine"),
        pytest.param({"--preset": "vlm"}, "argument --preset: invalid", id="unknown-preset"),
        pytest.param({"--prometheus": "http://127.0.0.1:9"}, "cannot be reached", id="refused"),
        pytest.param({"--model": "absent"}, "nothing to export", id="nothing-there"),
    ],
)
def test_a_wrong_export_is_one_paragraph_and_exit_code_2(
    recorded: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, str],
    words: str,
) -> None:
    given = {"--prometheus": recorded, "--model": "m", "--start": "5m", "--namespace": "x"}
    argv = [part for pair in {**given, **arguments}.items() for part in pair]
    assert main(["trace", "export", *argv, "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
