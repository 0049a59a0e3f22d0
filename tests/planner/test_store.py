import asyncio
import json
from pathlib import Path

import pytest

from planner.store import MemoryStore
from policies.memory import Memory, Sized
from policies.types import PerRole

MEMORY = Memory(seconds=(), sizes=(Sized(10.0, PerRole(2, 3)),))


def test_what_is_saved_is_restored(tmp_path: Path) -> None:
    asyncio.run(MemoryStore(tmp_path / "memory.json").save(MEMORY))
    assert MemoryStore(tmp_path / "memory.json").load() == MEMORY
    assert [path.name for path in tmp_path.iterdir()] == ["memory.json"]


def test_the_first_start_has_no_memory(tmp_path: Path) -> None:
    assert MemoryStore(tmp_path / "memory.json").load() == Memory()


def test_an_unusable_file_is_kept_aside(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    path.write_text('{"version": 99}')
    assert MemoryStore(path).load() == Memory()
    assert (tmp_path / "memory.json.unusable").read_text() == '{"version": 99}'


GOOD = json.loads(MEMORY.to_json())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(MEMORY.to_json()[:-40], id="half"),
        pytest.param("\0" * 512, id="zeros-after-a-crash-of-the-disk"),
        pytest.param('{"compilerOptions": {}}', id="a-file-of-something-else"),
        pytest.param("{}", id="an-empty-object"),
        pytest.param(json.dumps(GOOD | {"trackers": 5}), id="no-list"),
        pytest.param(json.dumps(GOOD | {"trackers": ["[" * 5000]}), id="a-tower-of-brackets"),
        pytest.param(json.dumps(GOOD | {"seconds": [1.0, 2.0]}), id="times-without-loads"),
    ],
)
def test_whatever_is_in_the_file_the_planner_starts_and_the_file_is_kept(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "memory.json"
    path.write_text(text)
    assert MemoryStore(path).load() == Memory()
    assert (tmp_path / "memory.json.unusable").read_text() == text


def test_a_file_that_cannot_be_set_aside_does_not_end_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    path = tmp_path / "memory.json"
    path.write_text("half")
    monkeypatch.setattr(Path, "replace", read_only)
    assert MemoryStore(path).load() == Memory()
    assert path.read_text() == "half"


def test_a_folder_that_vanished_does_not_stop_the_loop(tmp_path: Path) -> None:
    asyncio.run(MemoryStore(tmp_path / "gone" / "memory.json").save(MEMORY))
    assert not (tmp_path / "gone").exists()
