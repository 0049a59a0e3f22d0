"""Runs put side by side: means over seeds, ratios to the bound, the price of the objective."""

from dataclasses import replace

import pytest

from policies.config import PolicySettings
from policies.profile import builtin
from policies.types import PerRole
from replay.compare import Case, Moment, Run, Stage, Workload
from replay.report import html_page, png_chart, table_text
from replay.scoring import Score
from replay.standings import bound_gpu_hours, price_of_objective, standings

STAGE = Stage(profile=builtin("llama-3-8b-h100-fp8-tp1"), settings=PolicySettings())
SCORE = Score(
    requests=1000,
    joint_attainment=1.0,
    ttft_attainment=1.0,
    itl_attainment=1.0,
    ttft_p50_seconds=0.1,
    ttft_p95_seconds=0.2,
    ttft_p99_seconds=0.3,
    itl_p50_seconds=0.01,
    itl_p95_seconds=0.02,
    itl_p99_seconds=0.03,
    goodput_per_second=5.0,
    gpu_hours=10.0,
    scaling_events=4,
    unfinished_requests=0,
)


def run(policy, attained, gpu_hours, *, seed=0, headroom=1.0, relaxed=None):
    return Run(
        case=Case(
            policy=policy,
            workload=Workload(),
            stage=STAGE,
            seed=seed,
            knobs={"headroom": headroom},
        ),
        score=replace(SCORE, joint_attainment=attained, gpu_hours=gpu_hours),
        scaling_events_per_hour=2.0,
        p_d_ratio_mean=1.5,
        timeline=(Moment(10.0, PerRole(2, 1), 5.0, 0.0), Moment(20.0, PerRole(2, 0), None, None)),
        relaxed_gpu_hours=relaxed,
    )


def test_gpu_hours_are_set_against_the_bound():
    rows = standings([run("coupled", 1.0, 12.0), run("bound", 0.99, 8.0, relaxed=6.0)])
    assert [row.gpu_hours_over_bound for row in rows] == [1.5, 1.0]
    assert [row.gpu_hours_over_relaxed for row in rows] == [2.0, pytest.approx(8 / 6)]


def test_without_a_bound_there_is_no_ratio():
    assert standings([run("coupled", 1.0, 12.0)])[0].gpu_hours_over_bound is None


@pytest.mark.parametrize(
    ("attained", "gpu_hours", "expected"),
    [
        pytest.param(0.99, 7.0, 7.0, id="as-good-and-cheaper-is-the-bound"),
        pytest.param(0.98, 7.0, 8.0, id="cheaper-but-worse-is-not"),
        pytest.param(1.0, 9.0, 8.0, id="dearer-is-not"),
    ],
)
def test_no_run_that_attains_as_much_is_below_the_bound(attained, gpu_hours, expected):
    runs = [run("bound", 0.99, 8.0), run("coupled", attained, gpu_hours)]
    assert bound_gpu_hours(runs) == expected


def test_seeds_are_averaged_and_the_worst_is_kept():
    row = standings([run("hpa", 1.0, 10.0), run("hpa", 0.9, 14.0, seed=1)])[0]
    assert (row.seeds, row.gpu_hours, row.joint_attainment_min) == (2, 12.0, 0.9)
    assert row.joint_attainment == pytest.approx(0.95)
    assert not row.attains


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        pytest.param([(1.0, 0.98, 10), (1.5, 1.0, 14)], (1.25, 12.0), id="between"),
        pytest.param([(1.0, 0.99, 10), (1.5, 1.0, 14)], (1.0, 10.0), id="the-smallest-attains"),
        pytest.param([(1.0, 0.9, 10), (1.5, 0.95, 14)], None, id="never"),
        pytest.param(
            [(1.0, 0.98, 10), (1.5, 1.0, 14), (0.7, 0.5, 6)], (1.25, 12.0), id="in-any-order"
        ),
    ],
)
def test_price_of_the_objective(points, expected):
    runs = [run("hpa", attained, hours, headroom=head) for head, attained, hours in points]
    assert price_of_objective(runs, 0.99) == (expected and pytest.approx(expected))


def test_a_sweep_does_not_change_the_plain_row():
    runs = [
        run("hpa", 0.98, 10.0),
        run("hpa", 1.0, 14.0, headroom=1.5),
        run("bound", 0.99, 8.0),
    ]
    row = standings(runs)[0]
    assert (row.gpu_hours, row.gpu_hours_at_objective) == (10.0, pytest.approx(12.0))
    assert row.gpu_hours_over_bound_at_objective == pytest.approx(1.5)


def test_a_headroom_of_its_own_is_no_sweep():
    runs = [run("hpa", 1.0, 14.0, headroom=1.5), run("coupled", 1.0, 12.0)]
    assert [(row.policy, row.gpu_hours) for row in standings(runs)] == [
        ("hpa", 14.0),
        ("coupled", 12.0),
    ]


def test_the_page_shows_the_first_seed_whatever_it_is():
    runs = [run("hpa", 1.0, 14.0, headroom=1.5, seed=seed) for seed in (5, 6)]
    page = html_page(standings(runs), runs, "")
    assert page.count('"legendgroup":"hpa"') == 5, "one line in each of five panels"


def test_the_table_marks_what_misses_the_objective():
    text = table_text(standings([run("coupled", 1.0, 12.0), run("hpa", 0.9, 9.0)]))
    coupled, hpa = text.splitlines()[2:4]
    assert coupled.split()[:2] == ["coupled", "100.00%"]
    assert hpa.split()[:2] == ["hpa", "90.00%*"]


def test_the_page_needs_no_network_and_holds_the_library_once():
    runs = [run("coupled", 1.0, 12.0), run("hpa", 0.9, 9.0)]
    page = html_page(standings(runs), runs, "under <defaults>")
    assert "under &lt;defaults&gt;" in page
    assert page.count("plotly.js v") == 1
    assert "<script src=" not in page
    assert "KV backlog" in page


def test_the_picture_is_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    file = tmp_path / "chart.png"
    png_chart(standings([run("coupled", 1.0, 12.0)]), file)
    assert file.read_bytes().startswith(b"\x89PNG")
