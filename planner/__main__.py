"""The command line: `planner COMMAND`. Only the chosen command's module is imported."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from planner.errors import UserError

# Our matrices are small: a fit of a seasonal model takes 0.4 s on one thread, and 5 s on two that
# wait for each other. Read when numpy is first imported, here and in the process that fits.
_LINEAR_ALGEBRA = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

# Command: (its module, its line in `planner --help`). The summary stands here, not in the module,
# so that `planner --help` imports none of them.
COMMANDS = {
    "demo": (
        "planner.commands.demo",
        "watch the live service control a simulated fleet in accelerated time",
    ),
    "run": (
        "planner.commands.run",
        "run the service against a cluster; advises unless told to act",
    ),
    "check": (
        "planner.commands.check",
        "look at the metrics and the cluster before anything runs",
    ),
    "recommend": (
        "planner.commands.recommend",
        "print the pair of pools for a given load",
    ),
    "trace": ("planner.commands.trace", "look at a trace of requests, or make one"),
    "replay": (
        "planner.commands.replay",
        "play a trace against a simulated fleet under one policy",
    ),
    "compare": (
        "planner.commands.compare",
        "set policies side by side on traces, against a clairvoyant bound",
    ),
    "backtest": (
        "planner.commands.backtest",
        "score the forecasting models on recorded load",
    ),
    "discover": (
        "planner.commands.discover",
        "list the P/D workloads of a namespace and print a configuration for them",
    ),
    "rbac": ("planner.commands.rbac", "print the least Role that a configuration needs"),
    "schema": ("planner.commands.schema", "print the JSON schema of the configuration file"),
}

USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count


class _Parser(argparse.ArgumentParser):
    """Reports a usage error as this program reports every other one."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see `{self.prog} --help`")


class _Version(argparse.Action):
    """Looks the version up only when asked: reading package metadata costs a tenth of a second."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        from importlib.metadata import version

        print(f"planner {version('pd-planner')}")  # noqa: T201 - asked for
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {summary}" for name, (_, summary) in COMMANDS.items())
    parser = _Parser(
        prog="planner",
        description="Sizes the prefill and decode pools of disaggregated LLM serving as one "
        "problem.",
        epilog=f"commands:\n{listing}\n\n`planner COMMAND --help` explains a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _run(argv: Sequence[str]) -> int:
    chosen = _parser().parse_args(argv or ["--help"])
    module_name, summary = COMMANDS[chosen.command]
    module = importlib.import_module(module_name)
    parser = _Parser(prog=f"planner {chosen.command}", description=summary)
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(chosen.arguments)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; only bugs leave a traceback."""
    for library in _LINEAR_ALGEBRA:
        os.environ.setdefault(library, "1")
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except UserError as error:
        print(f"planner: {error}", file=sys.stderr)  # noqa: T201 - a user reads this
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has left: a second flush at exit would complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERRUPTED
    return code


if __name__ == "__main__":
    sys.exit(main())
