"""`planner schema`: the JSON schema of the configuration file, for editors and checks."""

from __future__ import annotations

import argparse
import json

from planner.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes none."""


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 - every command has this signature
    """Print the schema; docs/config.schema.json is a copy."""
    print(json.dumps(Config.model_json_schema(), indent=2))
    return 0
