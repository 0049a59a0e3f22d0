"""`planner run`: the service, against a cluster."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import structlog

from planner import logs
from planner.config import Config, load, load_profile
from planner.doubts import doubts
from planner.errors import UserError
from planner.service import connect, serve
from planner.store import MemoryStore
from policies.profile import Profile

log = structlog.get_logger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the configuration is."""
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        required=True,
        metavar="FILE",
        help="configuration in YAML; `planner schema` describes it",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; paths in the file are seen from its folder."""
    config = load(args.config)
    folder = args.config.parent
    profile = load_profile(config.profile, beside=folder)
    store = _store(folder / config.memory_file) if config.memory_file else None
    logs.configure(config.log.level, config.log.format)
    for text in doubts(config):
        log.warning("a doubtful setting", why=text)
    asyncio.run(_run(config, profile, store))
    return 0


async def _run(config: Config, profile: Profile, store: MemoryStore | None) -> None:
    await serve(config, profile, await connect(config), store)


def _store(path: Path) -> MemoryStore:
    if not path.parent.is_dir():
        raise UserError(f"memory_file {path}: there is no folder {path.parent}; create it first")
    if path.is_dir():
        raise UserError(f"memory_file {path}: that is a folder; name a file in it")
    return MemoryStore(path)
