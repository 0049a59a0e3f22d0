import asyncio
from pathlib import Path

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


def test_a_folder_that_vanished_does_not_stop_the_loop(tmp_path: Path) -> None:
    asyncio.run(MemoryStore(tmp_path / "gone" / "memory.json").save(MEMORY))
    assert not (tmp_path / "gone").exists()
