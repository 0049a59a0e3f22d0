"""A file to read a trace from, and what a reader of one format has to offer."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

from replay.traces.bundle import is_bundle, member_names
from replay.traces.lengths import LengthLaw
from replay.traces.trace import Ledger, Trace, TraceError

_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_HEAD_CHARACTERS = 1 << 20
_HEAD_LINES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to read what a file leaves open; every format takes what applies to it."""

    skip_bad_lines: bool = False
    seed: int = 0
    series: str | None = None
    """Which of a file's kinds of traffic to take, such as `conversation`; None: all of it."""
    lengths: LengthLaw | None = None
    """Draws the lengths that a series of rates lacks; None: what suits the file."""
    cache_tokens: int = 5_000_000
    """Size of the prefix cache that turns a trace's block ids into cached tokens; 0: no cache.
    The default is the KV memory of about a dozen replicas of a 70B model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One file, its first lines, and how to read it."""

    path: Path
    head: tuple[str, ...]
    options: Options
    ledger: Ledger
    open_member: Callable[[], AbstractContextManager[TextIO]] | None = None

    def opened(self) -> AbstractContextManager[TextIO]:
        """Open the text: the file's, or that of one member of an archive."""
        return self.open_member() if self.open_member else open_text(self.path)


class Format(Protocol):
    """A reader of one public format. `looks_for` tells people how it is recognised."""

    @property
    def name(self) -> str:
        """The format's name, as shown to users."""

    @property
    def looks_for(self) -> str:
        """What the first lines of such a file look like."""

    def recognises(self, path: Path, head: tuple[str, ...]) -> bool:
        """Whether a file that starts with the lines `head` is of this format."""

    def trace(self, source: Source) -> Trace:
        """Give the file's trace; its passes raise a TraceError that names the line at fault."""


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, compressed or not; TraceError when it cannot be read.

    Bytes that are not UTF-8 become replacement characters, so that the line that holds them is
    named as bad instead of ending the pass.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(6)
        opener = next((o for start, o in _COMPRESSED.items() if magic.startswith(start)), open)
        with opener(path, mode="rt", encoding="utf-8-sig", errors="replace") as text:
            yield text
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise TraceError(f"{path}: cannot be read: {why}") from error


def first_lines(path: Path) -> tuple[str, ...]:
    """Read the first few complete lines, without their ends, blank ones left out.

    Those of a folder or archive are the names in it.
    """
    if is_bundle(path):
        return member_names(path)
    with open_text(path) as file:
        text = file.read(_HEAD_CHARACTERS)
    lines = text.splitlines()
    if len(text) == _HEAD_CHARACTERS:
        lines = lines[:-1]
    return tuple(line for line in lines if line.strip())[:_HEAD_LINES]
