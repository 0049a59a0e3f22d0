"""`planner replay` and `planner compare` from the command line to their JSON."""

import json
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest

from planner.__main__ import main

pytestmark = pytest.mark.slow

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
KEYS = {
    *("policy", "trace", "joint_attainment", "gpu_hours", "gpu_hours_over_bound"),
    *("scaling_events_per_hour", "p_d_ratio_mean"),
}


@pytest.fixture
def trace(tmp_path):
    """Ten minutes: 2 requests/s of 1,500 and 60 tokens, four times that in the middle."""
    start = datetime(2023, 11, 16, 18, tzinfo=UTC)
    gaps = [0.5] * 400 + [0.125] * 1600 + [0.5] * 400
    times = [start + timedelta(seconds=seconds) for seconds in accumulate(gaps)]
    lines = [f"{time:%Y-%m-%d %H:%M:%S.%f},1500,60\n" for time in times]
    path = tmp_path / "busy.csv"
    path.write_text(HEADER + "".join(lines))
    return str(path)


def told(capsys, *argv):
    assert main(argv) == 0
    return json.loads(capsys.readouterr().out)


def test_replay_tells_how_it_went(trace, capsys):
    result = told(capsys, "replay", trace, "--policy", "hpa", "--rate-scale", "5", "--json")
    assert result["policy"] == "hpa"
    assert result["trace"] == "busy"
    assert result["requests"] == pytest.approx(12_000, rel=0.02)
    assert (
        0 < result["joint_attainment"] <= min(result["ttft_attainment"], result["itl_attainment"])
    )
    assert {"ttft_p95_seconds", "itl_p95_seconds", "gpu_hours", "scaling_events"} <= set(result)
    assert result["simulated_requests_per_second"] == pytest.approx(
        result["requests"] / result["wall_seconds"]
    )
    assert "llama-3-8b" in result["configuration"]


def test_another_simulator_tells_the_same_keys_or_how_to_get_it(trace, capsys):
    argv = ["replay", trace, "--json", "--backend"]
    native = told(capsys, *argv, "native")
    code = main([*argv, "dynamo"])
    printed = capsys.readouterr()
    if code:
        assert "pip install 'pd-planner[dynamo]'" in printed.err
        pytest.skip(printed.err)
    dynamo = json.loads(printed.out)
    assert list(dynamo) == list(native)
    assert dynamo["requests"] == native["requests"]
    assert dynamo["joint_attainment"] == pytest.approx(native["joint_attainment"], abs=0.02)


def test_a_replay_is_the_same_again(trace, capsys):
    runs = [
        told(capsys, "replay", trace, "--rate-scale", "3.5", "--seed", "7", "--json")
        for _ in range(2)
    ]
    for run in runs:
        del run["wall_seconds"], run["simulated_requests_per_second"]
    assert runs[0] == runs[1]


def test_compare_sets_policies_against_the_bound(trace, tmp_path, capsys):
    page = tmp_path / "page.html"
    argv = ["compare", trace, "--policies", "coupled,static_peak,bound", "--startup-seconds", "30"]
    profile = ["--profile", "llama-3-70b-h100-fp8-tp2", "--processes", "1"]
    result = told(capsys, *argv, *profile, "--html", str(page), "--json")
    rows = {row["policy"]: row for row in result["rows"]}
    assert list(rows) == ["coupled", "static_peak", "bound"]
    assert all(set(row) >= KEYS and row["trace"] == "busy" for row in rows.values())
    assert all(row["gpu_hours_over_bound"] >= 0.999 for row in rows.values() if row["attains"])
    assert rows["static_peak"]["attains"]
    assert rows["bound"]["gpu_hours_over_relaxed"] >= 1.0
    assert page.read_text().startswith("<!doctype html>")


def test_parallel_processes_find_the_same(trace, capsys):
    argv = ["compare", trace, "--policies", "hpa,rate_reactive", "--json", "--processes"]
    assert told(capsys, *argv, "1") == told(capsys, *argv, "2")


def test_a_slower_fleet_than_the_profile_costs_attainment_or_gpus(trace, capsys):
    argv = ["replay", trace, "--policy", "static", "--rate-scale", "20", "--json"]
    as_told = told(capsys, *argv)
    slower = told(capsys, *argv, "--profile-error", "0.5")
    assert slower["ttft_p95_seconds"] > as_told["ttft_p95_seconds"]
    assert slower["gpu_hours"] == pytest.approx(as_told["gpu_hours"], rel=0.05)


def test_knobs_reach_their_policy(trace, capsys):
    argv = ["replay", trace, "--policy", "hpa", "--rate-scale", "20", "--json"]
    plain = told(capsys, *argv)
    roomy = told(capsys, *argv, "--knob", "hpa.target_fraction=0.3")
    assert roomy["gpu_hours"] > plain["gpu_hours"]


def test_a_policy_sees_the_fleet_through_a_stack(trace, capsys):
    argv = ["compare", trace, "--policies", "coupled,bound", "--rate-scale", "20", "--json"]
    plain = told(capsys, *argv)
    seen = told(capsys, *argv, "--through", "sglang", "--scrape-seconds", "20")
    assert "seen through sglang, scraped every 20 s" in seen["configuration"]
    (ours, bound), (ours_seen, bound_seen) = plain["rows"], seen["rows"]
    assert bound_seen["gpu_hours"] == bound["gpu_hours"]
    assert ours_seen["gpu_hours"] != ours["gpu_hours"]


def test_a_simulator_that_shows_no_metrics_is_refused(trace, capsys):
    assert main(["replay", trace, "--through", "vllm", "--backend", "dynamo"]) == 2
    assert "--through needs the simulator native" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        pytest.param(["--policies", "hpc"], "no policy 'hpc'; there are:", id="policy"),
        pytest.param(["--knob", "hpa"], "write it as POLICY.KNOB=VALUE", id="knob-form"),
        pytest.param(["--knob", "hpa.target=1"], "hpa has: headroom, target_fraction", id="knob"),
        pytest.param(["--rate-scale", "none"], "'none' is not a number above 0", id="rate"),
        pytest.param(["--profile", "gpt"], "built in are:", id="profile"),
        pytest.param(["--profile-error", "-2"], "not a number from -0.9 to 9", id="error"),
        pytest.param(["--through", "vlm"], "choose from 'dynamo', 'vllm-llmd'", id="through"),
        pytest.param(
            ["--through", "vllm", "--scrape-seconds", "40"],
            "a rate over 60 s takes two scrapes",
            id="scrapes-too-far-apart",
        ),
        pytest.param(["--seed", "-1"], "'-1' is not a whole number, 0 or more", id="seed"),
        pytest.param(["--cache-tokens", "-5"], "not a whole number, 0 or more", id="cache"),
        pytest.param(["--policies", ","], "names none; there are: coupled", id="no-policy"),
        pytest.param(["--html", "no/folder/a.html"], "there is no folder no/folder", id="folder"),
        pytest.param(["--png", "."], ". is a folder; name a file", id="not-a-file"),
        pytest.param(
            ["--policies", "coupled", "--knob", "hpa.headroom=2"],
            "hpa is not played, only coupled",
            id="knob-of-another",
        ),
        pytest.param(
            ["--equal-attainment", "--knob", "hpa.headroom=2"],
            "--equal-attainment sweeps it",
            id="knob-swept",
        ),
    ],
)
def test_a_mistake_is_explained(trace, capsys, argv, message):
    assert main(["compare", trace, *argv]) == 2
    assert message in capsys.readouterr().err


def test_a_trace_that_cannot_be_read_is_explained(tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + "2023-11-16 18:00:00.0,100,5\n2023-11-16 18:00:01.0,many,5\n")
    assert main(["compare", str(path), "--policies", "hpa"]) == 2
    assert "line 3" in capsys.readouterr().err


def test_skipped_lines_are_told_with_every_result(tmp_path, capsys):
    path = tmp_path / "bad.csv"
    path.write_text(HEADER + "2023-11-16 18:00:00.0,100,5\n2023-11-16 18:00:01.0,many,5\n")
    argv = [str(path), "--skip-bad-lines"]
    assert told(capsys, "replay", *argv, "--json")["bad_lines"] == 1
    compared = told(capsys, "compare", *argv, "--policies", "hpa", "--json")
    assert compared["bad_lines"] == {"bad": 1}
    for command in (["replay", *argv], ["compare", *argv, "--policies", "hpa"]):
        assert main(command) == 0
        printed = capsys.readouterr().out
        assert "1 bad line skipped, the first of them:" in printed
        assert "line 3, field ContextTokens: 'many'" in printed


def test_two_traces_of_one_name_are_refused(trace, capsys):
    assert main(["compare", trace, trace]) == 2
    assert "same name" in capsys.readouterr().err
