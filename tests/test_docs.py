"""The documents say what is so: their commands run, their files exist, their settings load."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from planner.config import load
from planner.errors import UserError

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text()) if kind == language]


def commands(page: Path) -> list[str]:
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [line.partition("#")[0].strip() for line in lines if line.partition("#")[0].strip()]


README = commands(ROOT / "README.md")
OURS = [line for line in README if line.startswith(".venv/bin/planner ")]
MAKE = sorted({line for page in PAGES for line in commands(page) if line.startswith("make ")})


def test_the_readme_begins_with_the_two_commands() -> None:
    assert README[:2] == ["make run", "make test"]


@pytest.mark.slow
@pytest.mark.parametrize("line", OURS)
def test_a_planner_command_of_the_readme_succeeds(line: str) -> None:
    arguments = shlex.split(line)[1:]
    done = subprocess.run(
        [sys.executable, "-m", "planner", *arguments],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make: apt-get install make")
@pytest.mark.parametrize("line", MAKE)
def test_a_make_command_names_targets_that_exist(line: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", *shlex.split(line)[1:]],  # noqa: S607 - the one a reader would use
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    dead = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not dead


def test_the_configuration_in_the_readme_loads(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "README.md", "yaml")
    path = tmp_path / "planner.yaml"
    path.write_text(text)
    assert load(path).mode == "advise"


def test_the_error_in_the_readme_is_the_one_that_is_given(tmp_path: Path) -> None:
    (said,) = [b for b in blocks(ROOT / "README.md", "text") if b.startswith("planner: ")]
    (text,) = blocks(ROOT / "README.md", "yaml")
    path = tmp_path / "planner.yaml"
    path.write_text(text.replace("ttft_seconds: 2.0", "ttft_seconds: 2s"))
    with pytest.raises(UserError) as caught:
        load(path)
    assert said == f"planner: {caught.value}\n".replace(f"{tmp_path}/", "")
