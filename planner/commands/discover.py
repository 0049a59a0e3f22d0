"""`planner discover`: what of a namespace could be planned, as a configuration to start from."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import yaml

from planner.errors import UserError
from planner.kube import KubeError, KubeSettings, connect
from planner.workloads.discovery import Discovered, discover


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which namespace, of which cluster."""
    parser.add_argument("-n", "--namespace", required=True, metavar="NAMESPACE")
    parser.add_argument("--kubeconfig", type=Path, metavar="FILE")
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    parser.add_argument("--api-server", metavar="URL", help="for instance of `kubectl proxy`")


def run(args: argparse.Namespace) -> int:
    """Print one workload section per pair found; all but the first are commented out."""
    settings = KubeSettings(
        api_server=args.api_server, kubeconfig=args.kubeconfig, context=args.context
    )
    try:
        found = asyncio.run(_discover(settings, args.namespace))
    except KubeError as error:
        raise UserError(f"cannot look into namespace {args.namespace}: {error}") from None
    if not found:
        raise UserError(
            f"namespace {args.namespace} holds no pair that is recognised: two objects whose names "
            "differ in prefill and decode, or one object with roles of these names. Name the pools "
            "in the workload section; docs/workloads.md lists the kinds"
        )
    for number, each in enumerate(found):
        section = yaml.safe_dump(
            {
                "workload": {
                    "namespace": args.namespace,
                    **{str(role): pool for role, pool in each.pools.items()},
                }
            },
            sort_keys=False,
        )
        print(f"# {each.name}")
        print("".join(f"{'# ' if number else ''}{line}\n" for line in section.splitlines()), end="")
    return 0


async def _discover(settings: KubeSettings, namespace: str) -> list[Discovered]:
    api = await connect(settings)
    try:
        return await discover(api, namespace)
    finally:
        await api.close()
