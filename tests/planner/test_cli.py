import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from planner.__main__ import COMMANDS, main

HEAVY = ("numpy", "pandas", "scipy", "pydantic", "aiohttp", "kubernetes", "statsmodels", "plotly")


LOAD = ["--requests-per-second", "60", "--input-tokens", "2000", "--output-tokens", "300"]


def planner(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "planner", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_names_every_command_and_imports_none_of_them() -> None:
    probe = f"""
import sys
from planner.__main__ import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
loaded = [name for name in {HEAVY!r} if name in sys.modules]
loaded += [name for name in sys.modules if name.startswith("planner.commands.")]
assert not loaded, loaded
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    for name, (_, summary) in COMMANDS.items():
        assert f"{name} " in done.stdout
        assert summary in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: planner {command}")


def test_no_command_is_a_request_for_help() -> None:
    done = planner()
    assert done.returncode == 0
    assert "commands:" in done.stdout


def test_the_version_is_the_distribution_s() -> None:
    from importlib.metadata import version

    assert planner("--version").stdout == f"planner {version('pd-planner')}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["fly"], "invalid choice: 'fly'", id="unknown-command"),
        pytest.param(["schema", "--loud"], "--loud", id="unknown-option"),
        pytest.param(["recommend", "--input-tokens", "many"], "'many' is not", id="not-a-number"),
        pytest.param(["recommend"], "--requests-per-second", id="missing-option"),
        pytest.param(["recommend", "--attainment", "99"], "'99' is not a share", id="a-percentage"),
        pytest.param(["recommend", "--input-tokens", "1e300"], "is above 1e+07", id="beyond-any"),
        pytest.param(["recommend", "--input-cv", "1e300"], "is above 10", id="spread"),
        pytest.param(
            ["recommend", *LOAD, "--min-prefill-per-decode", "1e300"], "from 0.001", id="ratio"
        ),
        pytest.param(
            ["recommend", *LOAD, "--min-prefill-per-decode=3", "--max-prefill-per-decode=2"],
            "--min-prefill-per-decode 3 is above --max-prefill-per-decode 2",
            id="ratio-in-the-wrong-order",
        ),
        pytest.param(["run", "-c", "no/such.yaml"], "cannot read no/such.yaml", id="no-such-file"),
    ],
)
def test_a_usage_error_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("planner: ")
    assert said in error
    assert error.count("\n") == 1


def test_a_service_without_metrics_says_what_is_missing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "planner.yaml"
    path.write_text("mode: act\n")
    assert main(["run", "-c", str(path)]) == 2
    assert f"{path}, line 1: metrics is missing" in capsys.readouterr().err


def test_recommend_prints_the_pair_and_what_binds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", *LOAD]) == 0
    out = capsys.readouterr().out
    assert "prefill " in out
    assert "decode " in out
    assert "TTFT p99 is" in out
    assert "prefill is bound by" in out
    assert "the demand calls for" in out


def test_recommend_as_json_agrees_with_the_sizing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["recommend", *LOAD, "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert answer["feasible"]
    assert sum(answer["replicas"].values()) == answer["gpus"]  # one GPU per replica here
    assert answer["expected"]["ttft_seconds"] <= 2.0
    assert answer["margins"]["prefill"]["fewer"]["joint_attainment"] < 0.99


def test_recommend_takes_the_whole_objective(capsys: pytest.CaptureFixture[str]) -> None:
    growing = ["--ttft", "0.2", "--ttft-per-input-token", "0.0002", "--attainment", "0.95"]
    assert main(["recommend", *LOAD, *growing]) == 0
    assert "TTFT p95 is" in (out := capsys.readouterr().out)
    assert "(objective 200 ms + 200 us per prompt token)" in out


def test_recommend_beyond_the_budget_says_so_and_exits_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["recommend", *LOAD, "--gpu-budget", "2"]) == 1
    out = capsys.readouterr().out
    assert "short of the objective" in out
    assert "one prefill replica more (1 GPU) would raise the demand served" in out


def test_recommend_keeps_a_ratio_and_says_where_it_binds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long_prompts = ["--requests-per-second", "60", "--input-tokens", "4000", "--output-tokens"]
    options = ["recommend", *long_prompts, "50", "--max-prefill-per-decode", "2", "--json"]
    assert main(options) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["replicas"]["prefill"] <= 2 * answer["replicas"]["decode"]
    assert "ratio" in answer["binding"]
    assert "bound by the ratio of the roles" in answer["explanation"]


def test_what_grows_without_bound_is_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["recommend", *LOAD, "--gpu-budget", "2", "--json"])

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    answer = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert answer["expected"]["ttft_seconds"] is None
    assert answer["margins"]["decode"]["more"]["ttft_seconds"] is None


def test_a_reader_that_leaves_early_ends_the_command_quietly() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "planner", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 130
    assert error == b""


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_is_not_a_traceback() -> None:
    probe = f"""
import signal, sys
import planner.__main__ as shell
sys.modules["planner.commands.schema"] = type(sys)("stuck")
stuck = sys.modules["planner.commands.schema"]
stuck.add_arguments = lambda parser: None
stuck.run = lambda args: signal.raise_signal({int(signal.SIGINT)})
sys.exit(shell.main(["schema"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 130
    assert done.stderr == b""
