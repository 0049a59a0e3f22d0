"""`planner rbac`: the least Role that a configuration needs, in its mode."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel

from planner import document
from planner.workloads.config import WorkloadConfig
from planner.workloads.permissions import access_for


class _Workloads(BaseModel):
    """What of the file matters here."""

    mode: Literal["advise", "act"] = "advise"
    workload: WorkloadConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which configuration, for which service account."""
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE")
    parser.add_argument("--service-account", default="pd-planner", metavar="NAME")
    parser.add_argument(
        "-n",
        "--namespace",
        metavar="NAMESPACE",
        help="namespace of the service account; the workload's unless given",
    )


def run(args: argparse.Namespace) -> int:
    """Print a Role and a RoleBinding per namespace, ready for kubectl apply -f -."""
    config = document.read(args.config, _Workloads)
    workload, act = config.workload, config.mode == "act"
    namespace = args.namespace or workload.namespace
    found = access_for(workload, args.service_account, namespace, act=act)
    print(yaml.safe_dump_all(found, sort_keys=False), end="")
    return 0
