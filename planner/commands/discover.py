"""`planner discover`: what of a namespace could be planned, as a configuration to start from."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import yaml

from planner.errors import UserError
from planner.kube import Json, KubeError, KubeSettings, connect
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
        print(f"# {each.name}")
        for line in _section(each, args.namespace):
            print(f"# {line}" if number else line)
    return 0


def _section(found: Discovered, namespace: str) -> list[str]:
    """One workload section. The front end is commented out: what it carries is not to be seen."""
    pools = {str(role): pool for role, pool in found.pools.items()}
    lines = _yaml({"workload": {"namespace": namespace, **pools}})
    if found.router is not None:
        lines.append("  # Sized by request rate, once policy.router says what one replica carries:")
        lines += [f"  # {line}" for line in _yaml({"router": found.router})]
    return lines


def _yaml(data: Json) -> list[str]:
    return yaml.safe_dump(data, sort_keys=False).splitlines()


async def _discover(settings: KubeSettings, namespace: str) -> list[Discovered]:
    api = await connect(settings)
    try:
        return await discover(api, namespace)
    finally:
        await api.close()
