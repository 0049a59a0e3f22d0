"""Settings that each are possible and together make little sense."""

from pathlib import Path

import pytest

from planner.config import load
from planner.doubts import doubts

NEEDED = """
metrics: {url: "http://prometheus:9090", model: llama-3-8b}
workload:
  namespace: serving
  prefill: {kind: Deployment, name: llama-prefill}
  decode: {kind: Deployment, name: llama-decode}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "planner.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        pytest.param("", "tick_seconds: 5", "below the tick costs none", id="deadline-over-tick"),
        pytest.param(
            "model: llama-3-8b}", "model: llama-3-8b, deadline_seconds: 8}",
            "metrics.deadline_seconds belongs below deadline_seconds", id="query-over-deadline",
        ),
        pytest.param(
            "namespace: serving", "namespace: serving\n  kubernetes: {deadline_seconds: 9}",
            "workload.kubernetes.deadline_seconds belongs below", id="call-over-deadline",
        ),
        pytest.param(
            "model: llama-3-8b}", "model: llama-3-8b, window_seconds: 5}",
            "metrics.window_seconds is 5: of a server that scrapes", id="window-below-a-scrape",
        ),
        pytest.param(
            "", "policy: {decode: {startup_seconds: 0}}",
            "policy.decode.startup_seconds is 0", id="no-start-up-time",
        ),
    ],
)  # fmt: skip
def test_what_makes_little_sense_together_is_told(tmp_path: Path, was, now, said) -> None:
    text = NEEDED.replace(was, now) if was else f"{now}\n{NEEDED}"
    (doubt,) = doubts(load(write(tmp_path, text)))
    assert said in doubt


def test_the_defaults_leave_no_doubt(tmp_path: Path) -> None:
    assert not list(doubts(load(write(tmp_path, NEEDED))))
