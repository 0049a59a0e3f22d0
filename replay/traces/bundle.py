"""Several text files in one place: a folder, or a tar archive with any compression."""

from __future__ import annotations

import io
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from replay.traces.trace import TraceError

_BROKEN = (OSError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error)


def is_bundle(path: Path) -> bool:
    """Whether this is a folder or an archive; False when it cannot be read at all."""
    try:
        return path.is_dir() or tarfile.is_tarfile(path)
    except _BROKEN:
        return False


def member_names(path: Path) -> tuple[str, ...]:
    """List the files, by their names without folders."""
    try:
        if path.is_dir():
            return tuple(sorted(member.name for member in path.iterdir() if member.is_file()))
        with tarfile.open(path) as archive:
            return tuple(Path(member.name).name for member in archive if member.isfile())
    except _BROKEN as error:
        raise TraceError(f"{path}: cannot be read: {error}") from error


def members(path: Path, name: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str]]:
    """Read the files whose names match, one at a time, in the bundle's order."""
    try:
        if path.is_dir():
            for member in sorted(path.iterdir()):
                if match := name.fullmatch(member.name):
                    yield match, member.read_text(encoding="utf-8", errors="replace")
            return
        with tarfile.open(path) as archive:
            for entry in archive:
                match = name.fullmatch(Path(entry.name).name)
                file = archive.extractfile(entry) if match else None
                if match and file:
                    yield match, io.TextIOWrapper(file, "utf-8", errors="replace").read()
    except _BROKEN as error:
        raise TraceError(f"{path}: cannot be read: {error}") from error
