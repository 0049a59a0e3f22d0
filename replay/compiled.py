"""Machine code for the simulators' inner loops, out of the very functions that also run as Python.

The loops are written as ordinary functions over columns. Nothing marks them: `machine_code` finds
what an entry point calls and hands all of it to numba, an optional extra. Both forms give the
same results to the last bit (no fastmath), so the choice between them is only one of speed.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

# Without numba's reference counts, because the loops allocate nothing and counting every column at
# every call costs 15 times the work itself; inlined, because passing all columns at every call
# costs three times. Divisions are not checked: the laws exclude zero.
_OPTIONS: dict[str, Any] = {"_nrt": False, "error_model": "numpy", "forceinline": True}


def numba_installed() -> bool:
    """Whether the `replay` extra is there."""
    return importlib.util.find_spec("numba") is not None


def machine_code(entry: Callable[P, R]) -> Callable[P, R]:
    """Compile `entry` with all it calls: some 20 seconds the first time, then 0.5 to load.

    ImportError when numba is missing.
    """
    if not numba_installed():
        raise ImportError(
            "the compiled simulator needs numba: pip install 'pd-planner[replay]', "
            "or run it as plain Python with compiled=False"
        )
    return cast(Callable[P, R], _dispatcher(cast(FunctionType, entry)))


def is_warm(entry: Callable[P, R]) -> bool:
    """Whether `machine_code(entry)` is on disk from an earlier run, so that using it is quick."""
    folder = _cache_folder(cast(FunctionType, entry))
    return numba_installed() and folder is not None and any(folder.rglob("*.nbc"))


@functools.cache
def _dispatcher(entry: FunctionType) -> object:
    import numba
    from numba.extending import register_jitable

    for function in _callees(entry):
        _once(register_jitable, function)
    folder = _cache_folder(entry)
    if folder is None:
        return numba.njit(**_OPTIONS)(entry)
    with _numba_cache_at(folder):
        return numba.njit(cache=True, **_OPTIONS)(entry)


@functools.cache
def _once(register: Callable[[FunctionType], object], function: FunctionType) -> None:
    register(function)


def _callees(entry: FunctionType) -> list[FunctionType]:
    """Every function of this package that `entry` reaches through global names."""
    found: dict[str, FunctionType] = {}
    waiting = [entry]
    while waiting:
        function = waiting.pop()
        for name in function.__code__.co_names:
            callee = function.__globals__.get(name)
            if isinstance(callee, FunctionType) and callee.__module__.startswith("replay."):
                key = f"{callee.__module__}.{callee.__qualname__}"
                if key not in found:
                    found[key] = callee
                    waiting.append(callee)
    return [found[key] for key in sorted(found)]


@functools.cache
def _cache_folder(entry: FunctionType) -> Path | None:
    """Where this very code is kept; None when nothing can be written.

    numba looks only at the entry's own file to see whether its cache is stale. Naming the folder
    after all sources involved makes an edit anywhere a new folder.
    """
    files = {Path(function.__code__.co_filename) for function in (entry, *_callees(entry))}
    digest = hashlib.sha256(f"{sys.version} {_OPTIONS}".encode())
    for file in sorted(files):
        digest.update(file.read_bytes())
    home = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(home) if home else _user_cache() / "pd-planner"
    folder = base / f"{entry.__name__}-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextmanager
def _numba_cache_at(folder: Path) -> Iterator[None]:
    """Point numba at `folder` while it makes a dispatcher, which is when it looks."""
    import numba.core.config

    config: Any = numba.core.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = before
