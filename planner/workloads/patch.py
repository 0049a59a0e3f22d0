"""The bodies that change a replica count, each failing when its object has moved meanwhile."""

from __future__ import annotations

from planner.kube import Json, KubeError
from planner.workloads.kind import Write


def patch_of(write: Write, replicas: int, version: str) -> Json | list[Json]:
    """Build the patch that sets `replicas`; the server answers 409 on any `version` but this.

    Inside a list: a JSON patch that tests the item's name first. Elsewhere: a merge patch, which
    must never be used on a list because it replaces all of it.
    """
    if write.in_list:
        depth = next(n for n, step in enumerate(write.path) if isinstance(step, int))
        return [
            {
                "op": "test",
                "path": _pointer(write.path[: depth + 1]) + "/name",
                "value": write.item_name,
            },
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": _pointer(write.path), "value": replicas},
        ]
    body: Json = {str(write.path[-1]): replicas}
    for step in reversed(write.path[:-1]):
        body = {str(step): body}
    return {"metadata": {"resourceVersion": version}, **body}


def together(one: Json | list[Json], other: Json | list[Json]) -> Json | list[Json]:
    """Join two patches of one object into a single request."""
    if isinstance(one, list) and isinstance(other, list):
        return one + [step for step in other if step not in one]
    if isinstance(one, dict) and isinstance(other, dict):
        return _merged(one, other)
    raise TypeError("a JSON patch and a merge patch cannot be one request")


def is_conflict(error: KubeError, write: Write) -> bool:
    """Tell a moved object from a refusal; a JSON patch whose test fails is answered 422."""
    return error.status == 409 or (error.status == 422 and write.in_list)


def _pointer(path: tuple[str | int, ...]) -> str:
    """RFC 6901."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _merged(one: Json, other: Json) -> Json:
    out = dict(one)
    for key, value in other.items():
        mine = out.get(key)
        out[key] = _merged(mine, value) if isinstance(mine, dict) else value
    return out
