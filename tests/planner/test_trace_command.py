"""`planner trace`, as typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planner.__main__ import main

HEADER = "arrival_seconds,input_tokens,output_tokens"


@pytest.fixture
def trace_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.csv"
    rows = (f"{second},{100 + second % 7},{10 + second % 3}" for second in range(600))
    path.write_text("\n".join([HEADER, *rows]))
    return path


def printed(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    assert main(["trace", *map(str, argv)]) == 0
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    found = json.loads(printed(capsys, *argv, "--json"))
    assert isinstance(found, dict)
    return found


def test_inspect_without_a_path_shows_the_sample(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "inspect")
    assert text.startswith("sample (generated)")
    assert "P:D" in text
    assert "█" in text


def test_inspect_as_json(capsys: pytest.CaptureFixture[str], trace_file: Path) -> None:
    found = as_json(capsys, "inspect", trace_file)
    assert (found["name"], found["format"], found["bad_lines"]) == ("own", "csv", 0)
    assert found["requests"] == 600
    assert found["interarrival_cv"] == pytest.approx(0, abs=1e-6)
    assert found["input_tokens"]["p50"] == 103
    assert set(found["load_series"]) == {"prefill", "decode"}
    assert as_json(capsys, "inspect", trace_file, "--scale", 3)["requests"] == 1800


def test_inspect_counts_bad_lines(capsys: pytest.CaptureFixture[str], trace_file: Path) -> None:
    trace_file.write_text(trace_file.read_text() + "\nnonsense\n601,1,-1\n")
    assert main(["trace", "inspect", str(trace_file)]) == 2
    error = capsys.readouterr().err
    assert f"{trace_file}, line 602: 1 field; expected 3: {HEADER}" in error
    assert "Traceback" not in error
    text = printed(capsys, "inspect", trace_file, "--skip-bad-lines")
    assert "2 bad lines skipped" in text
    assert "line 603, field output_tokens: '-1'" in text


def test_inspect_draws(capsys: pytest.CaptureFixture[str], trace_file: Path) -> None:
    picture = trace_file.with_suffix(".png")
    printed(capsys, "inspect", trace_file, "--png", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_inspect_takes_lengths_for_rates(
    capsys: pytest.CaptureFixture[str], trace_file: Path
) -> None:
    rates = trace_file.with_name("rates.csv")
    rates.write_text("timestamp,count\n0,500\n600,500\n")
    found = as_json(capsys, "inspect", rates, "--lengths", "deepseek-r1")
    assert found["output_tokens"]["mean"] > 1000
    found = as_json(capsys, "inspect", rates, "--lengths", trace_file)
    assert found["output_tokens"]["max"] == 12


def test_changes_apply_in_their_order(capsys: pytest.CaptureFixture[str], trace_file: Path) -> None:
    out = trace_file.with_name("out.csv")
    then = as_json(capsys, "generate", out, "--from", trace_file, "--cut", "0:100", "--repeat", 3)
    assert then["requests"] == 300
    other = as_json(
        capsys, "generate", out, "--from", trace_file, "--repeat", 3, "--cut", "10m:11m"
    )
    assert other["requests"] == 60
    both = as_json(capsys, "generate", out, "--from", trace_file, "--mix", trace_file, "--scale", 2)
    assert both["requests"] == 2400
    assert as_json(capsys, "inspect", out)["requests"] == 2400


def test_a_shape_is_written_the_same_for_a_seed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("--shape", "bursts", "--duration", "30m", "--rate", 2, "--seed", 5)
    files = [tmp_path / name for name in ("one.csv", "two.csv")]
    for file in files:
        assert as_json(capsys, "generate", file, *arguments)["requests"] > 1000
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param("inspect nothing.csv", "nothing.csv: cannot be read: No such", id="missing"),
        pytest.param("inspect own.csv --series api", "no series 'api'", id="series"),
        pytest.param("inspect own.csv --lengths long", "--lengths long: no file", id="lengths"),
        pytest.param(
            "inspect own.csv --png no/where.png", "there is no folder no", id="picture-path"
        ),
        pytest.param("inspect own.csv --profile none", "none", id="profile"),
        pytest.param("generate out.csv", "--shape --from", id="no-base"),
        pytest.param("generate out.csv --shape square", "invalid choice: 'square'", id="shape"),
        pytest.param(
            "generate out.csv --from own.csv --rate 2", "--rate: for a --shape only", id="rate"
        ),
        pytest.param("generate out.csv --shape steady --duration 5x", "such as 30m", id="time"),
        pytest.param("generate out.csv --from own.csv --cut 5", "START:END", id="no-cut"),
        pytest.param("generate out.csv --from own.csv --cut 9:5", "ends before", id="empty-cut"),
        pytest.param("generate out.csv --from own.csv --thin 2", "not a share", id="thin"),
        pytest.param("generate out.csv --from own.csv --scale 0", "above 0", id="scale"),
        pytest.param("generate no/out.csv --from own.csv", "there is no folder no", id="out-path"),
        pytest.param("generate . --from own.csv", ". is a folder", id="out-folder"),
        pytest.param("generate out.csv --from own.csv --scale 1e12", "100,000 copies", id="copies"),
        pytest.param(
            "generate out.csv --shape steady --rate 1e6", "add --scale 3e-04", id="too-many"
        ),
    ],
)
def test_mistakes_are_explained(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    trace_file: Path,
    arguments: str,
    said: str,
) -> None:
    monkeypatch.chdir(trace_file.parent)
    assert main(["trace", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not Path("out.csv").exists()
