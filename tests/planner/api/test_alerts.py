"""The alerts that ship: they ask for what the planner shows, each fires, and all are explained."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import generate_latest

from policies.guards import GUARDS
from policies.types import Binding, HoldReason

ROOT = Path(__file__).parents[3]
RULES = yaml.safe_load((ROOT / "deploy" / "monitoring" / "rules.yaml").read_text())["spec"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
PAGE = (ROOT / "docs" / "alerts.md").read_text()

VALUES = {
    "constraint": set(Binding),
    "demand": {"now", "likely", "planned"},
    "limiter": {guard.__name__ for guard in GUARDS},
    "outcome": {"hold"},
    "reason": set(HoldReason),
    "statistic": {"mean", "p95"},
}
HELD = 'decisions_total{outcome="hold", reason="%s"}'
HEALTHY = {
    "info": "1x60",
    "last_tick_timestamp_seconds": "0+60x60",
    HELD % "already_right": "0+6x60",
    'limiter_hits_total{limiter="stabilise_scale_in"}': "0+6x60",
    'write_failures_total{role="decode"}': "0x60",
    'ready_replicas{role="decode"}': "3x60",
    'current_replicas{role="decode"}': "3x60",
    'desired_replicas{role="decode"}': "3x60",
    'expected_attainment_fraction{demand="now"}': "0.999x60",
    "slo_attainment_fraction": "0.99x60",
    'backlog_requests{role="prefill"}': "0x60",
    'unserved_requests{role="prefill"}': "0x60",
    'binding{constraint="ttft"}': "1x60",
    'binding{constraint="budget"}': "0x60",
    'binding{constraint="infeasible_slo"}': "0x60",
    'observed_ttft_seconds{statistic="p95"}': "0.5x60",
    "slo_ttft_seconds": "2x60",
    'observed_itl_seconds{statistic="p95"}': "0.03x60",
    "slo_itl_seconds": "0.05x60",
}
SHORT = {'expected_attainment_fraction{demand="now"}': "0.9x60"}
LATE = {'observed_itl_seconds{statistic="p95"}': "0.06x60"}
STARTING = {'ready_replicas{role="decode"}': "3x29 2x30"}  # for 20 minutes when it is judged


def named(series: str) -> str:
    """The series as one planner's scrape names it."""
    name, _, labels = series.partition("{")
    labels = f", {labels}" if labels else "}"
    return f'pd_planner_{name}{{job="planner", instance="10.0.0.7:8080"{labels}'


def check(folder: Path, series: dict[str, str], firing: set[str]) -> None:
    """Let Prometheus judge 50 minutes of such series, a sample a minute."""
    given = [{"series": named(name), "values": values} for name, values in series.items()]
    asked = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"}) > bool 0',
        "eval_time": "50m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in firing],
    }
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    files = {
        "rules.yaml": {"groups": RULES["groups"]},
        "test.yaml": {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]},
    }
    for name, content in files.items():
        (folder / name).write_text(yaml.safe_dump(content))
    done = subprocess.run(
        ["promtool", "test", "rules", str(folder / "test.yaml")],  # noqa: S607 - the user's own
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.program("promtool")
@pytest.mark.parametrize(
    "series",
    [
        pytest.param({}, id="all-is-well"),
        pytest.param({'binding{constraint="budget"}': "1x60"}, id="the-budget-binds-and-will-do"),
        pytest.param(SHORT, id="short-and-growing"),
        pytest.param(LATE | STARTING, id="late-while-replicas-start"),
        pytest.param(LATE | SHORT, id="late-as-expected"),
        pytest.param(
            {'backlog_requests{role="prefill"}': "0x40 900x20"}, id="a-queue-while-replicas-start"
        ),
    ],
)
def test_none_fires_while_nothing_is_to_be_done(tmp_path, series):
    check(tmp_path, HEALTHY | series, set())


FIRED = {
    "PlannerStopped": {"last_tick_timestamp_seconds": "0+60x40 2400x20"},
    "PlannerBlind": {HELD % "metrics_stale": "_x30 1+6x60"},
    "PlannerSeesPartly": {'limiter_hits_total{limiter="grow_on_partial_metrics"}': "0+6x60"},
    "PlannerCannotReadPools": {HELD % "pool_unknown": "_x30 1+6x60"},
    "PlannerCannotScale": {'write_failures_total{role="decode"}': "0x40 1+6x20"},
    "PlannerFailed": {HELD % "decision_failed": "_x30 1+6x60"},
    "PlannerOverruled": {HELD % "other_writer": "_x30 1+6x60"},
    "PlannerPoolAtZero": {HELD % "scaled_to_zero": "_x30 1+6x60"},
    "PlannerReplicasNotReady": {'ready_replicas{role="decode"}': "3x10 2x50"},
    "PlannerShortOfGpus": {'binding{constraint="budget"}': "1x60"} | SHORT,
    "PlannerCongested": {'backlog_requests{role="prefill"}': "0x30 40x30"},
    "PlannerSeesNoQueue": {'unserved_requests{role="prefill"}': "0x10 1x50"},
    "PlannerObjectiveOutOfReach": {'binding{constraint="infeasible_slo"}': "1x60"},
    "PlannerMispredicts": LATE,
}


@pytest.mark.program("promtool")
@pytest.mark.parametrize("alert", FIRED)
def test_it_fires_and_no_other_does(tmp_path, alert):
    check(tmp_path, HEALTHY | FIRED[alert], {alert})


@pytest.mark.program("promtool")
def test_a_planner_that_is_not_scraped_is_gone(tmp_path):
    check(tmp_path, {}, {"PlannerGone"})
    assert set(FIRED) | {"PlannerGone"} == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_it_asks_for_what_the_planner_shows(lived, alert):
    shown = set(
        re.findall(r"^(pd_planner_\w+)", generate_latest(lived.registry).decode(), re.MULTILINE)
    )
    expression = ALERTS[alert]["expr"]
    assert set(re.findall(r"pd_planner_\w+", expression)) <= shown
    for label, values in re.findall(r'(\w+)=~?"([^"]+)"', expression):
        assert set(values.split("|")) <= VALUES[label]


@pytest.mark.parametrize("alert", ALERTS)
def test_it_says_what_is_wrong_and_what_to_do(alert):
    rule = ALERTS[alert]
    assert set(rule["annotations"]) == {"summary", "description"}
    assert f"| `{alert}` | {rule['labels']['severity']} |" in PAGE


def test_the_page_explains_every_reason_to_hold():
    table = PAGE.partition("## Why it holds")[2]
    assert set(
        re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", table, re.MULTILINE)))
    ) == set(HoldReason)
