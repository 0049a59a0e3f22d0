"""docs/api.md keeps its word: its examples are asked, its metrics exist."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

GUIDE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(.*?)```.*?```json( shape)?\n(.*?)```", GUIDE, flags=re.DOTALL)


def ask(command: str, server: str) -> object:
    """Do what the curl command would, against the test's own server."""
    words = shlex.split(command)
    [url] = [word for word in words if word.startswith("http://localhost:8080")]
    url = url.replace("http://localhost:8080", server)
    if "-d" not in words:
        return requests.get(url, timeout=5).json()
    header, value = words[words.index("-H") + 1].split(": ")
    body = words[words.index("-d") + 1]
    return requests.post(url, data=body, headers={header: value}, timeout=5).json()


def promised(example: object, answer: object, *, values: bool) -> None:
    """Hold every documented field against the answer: its value, or only its kind."""
    if answer is None and not values:
        return  # null where there is none, such as what one replica less of one would do
    if isinstance(example, dict):
        assert set(example) <= set(answer)
        for name, part in example.items():
            promised(part, answer[name], values=values)
    elif isinstance(example, list) and not values:
        assert isinstance(answer, list)
        for one, other in zip(example, answer, strict=False):
            promised(one, other, values=values)
    elif not values:
        assert type(answer) is type(example)
    elif isinstance(example, float):
        assert answer == pytest.approx(example, rel=0.25)  # the policy may learn
    else:
        assert answer == example


@pytest.mark.parametrize(
    ("command", "shape", "example"),
    [pytest.param(*found, id=f"example-{i}") for i, found in enumerate(EXAMPLES, start=1)],
)
def test_an_example_is_what_the_planner_answers(server, command, shape, example):
    promised(json.loads(example), ask(command, server), values=not shape)


def test_no_example_was_missed():
    assert len(EXAMPLES) == GUIDE.count("```sh") == GUIDE.count("```json") == 4


def test_the_metrics_in_the_table_are_those_there_are(server):
    text = requests.get(f"{server}/metrics", timeout=5).text
    families = text_string_to_metric_families(text)
    there = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in families
    }
    table = GUIDE.split("## Metrics")[1].split("## Who may ask")[0]
    first_cells = "\n".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE))
    named = set(re.findall(r"`(pd_planner_\w+)`", first_cells))
    assert named == {name for name in there if not name.endswith("_created")}
