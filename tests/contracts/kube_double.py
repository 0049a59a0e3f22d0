"""An API server double over real HTTP, with the parts of Kubernetes that scaling rests on.

kmock serves the HTTP; this adds what it leaves out: resource versions with conflicts, generations,
scale subresources, JSON patches with tests, RBAC, and faults on demand.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

import jsonpatch
import kmock

from planner.kube import Json, Resource

_OBJECT = re.compile(
    r"/apis?/(?:(?P<group>[^/]+\.[^/]+|apps|autoscaling)/)?(?P<version>v[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?$"
)
_UNKNOWN_PATH = "404 page not found\n"
_GROUP = re.compile(r"/apis?/(?:(?P<group>[^/]+)/)?(?P<version>v[^/]+)$")
_KINDS = {"statefulsets": "StatefulSet"}  # of the others, what `str.title` makes of the plural
Key = tuple[str, str, str | None, str]  # group, plural, namespace, name
Admission = Callable[[Json, Json], str | None]


class RefusalError(Exception):
    def __init__(self, code: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.headers = code, message, dict(headers or {})
        self.details: Json = {}


class ApiServer:
    """Objects by key; `faults` are taken from the front, `hang` never answers what matches."""

    def __init__(self) -> None:
        self.objects: dict[Key, Json] = {}
        self.served: set[tuple[str, str, str]] = {("", "v1", "pods"), ("", "v1", "events")}
        self.scalable: set[str] = set()
        self.faults: list[tuple[str, RefusalError]] = []
        self.hang: str | None = None
        self.before_patch: Callable[[], None] | None = None
        self.after_patch: Callable[[Key, Json], None] | None = None
        self.admission: dict[str, Admission] = {}
        self.granted: list[Json] | None = None
        self.kinds = dict(_KINDS)
        self.log: list[tuple[str, str, Any]] = []
        self.url = ""
        self.stale: dict[Key, Json] = {}
        self._versions = itertools.count(100)

    def serve(self, resource: Resource, *, scale: bool = False) -> None:
        self.served.add((resource.group, resource.version, resource.plural))
        if scale:
            self.scalable.add(resource.plural)

    def put(self, resource: Resource, found: Json) -> Json:
        self.served.add((resource.group, resource.version, resource.plural))
        meta = found["metadata"]
        meta["resourceVersion"] = str(next(self._versions))
        meta.setdefault("generation", 1)
        self.objects[self.key(resource, meta)] = found
        return found

    @staticmethod
    def key(resource: Resource, meta: Json) -> Key:
        return resource.group, resource.plural, meta.get("namespace"), meta["name"]

    def at(self, resource: Resource, name: str, namespace: str = "llm") -> Json:
        return self.objects[(resource.group, resource.plural, namespace, name)]

    def touch(self, found: Json) -> None:
        """Let somebody else change the object's status."""
        found["metadata"]["resourceVersion"] = str(next(self._versions))

    def fail(self, pattern: str, code: int, message: str = "no", **headers: str) -> None:
        """Answer the next request whose "METHOD path" matches with an error."""
        self.faults.append((pattern, RefusalError(code, message, headers)))

    def writes(self) -> list[tuple[str, Any]]:
        return [(path, body) for method, path, body in self.log if method == "PATCH"]

    # --- the server's side ---------------------------------------------------

    def answer(self, request: kmock.Request) -> kmock.Response:
        method, path = request.method.value.upper(), request.url.path
        self.log.append((method, path, request.data))
        try:
            body = self._answer(method, path, request)
            return kmock.Response(payload=body, status=200, headers={})
        except RefusalError as refusal:
            if refusal.message == _UNKNOWN_PATH:
                return kmock.Response(payload=_UNKNOWN_PATH.encode(), status=404, headers={})
            body = {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": refusal.code,
                "message": refusal.message,
                "details": refusal.details,
            }
            return kmock.Response(payload=body, status=refusal.code, headers=refusal.headers)

    def _answer(self, method: str, path: str, request: kmock.Request) -> Json:
        self._fail_as_told(method, path)
        if group := _GROUP.fullmatch(path):
            return self._discovered(group["group"] or "", group["version"])
        found = _OBJECT.match(path)
        parts = found.groupdict() if found else {}
        served = (parts.get("group") or "", parts.get("version"), parts.get("plural"))
        if served[2] == "selfsubjectaccessreviews":
            return self._reviewed(request.data["spec"]["resourceAttributes"])
        self._authorise(method, parts, request.headers.get("Authorization"))
        if served not in self.served:
            raise RefusalError(404, _UNKNOWN_PATH)
        key: Key = (parts["group"] or "", parts["plural"], parts["namespace"], parts["name"])
        if method == "POST":
            meta = request.data["metadata"]
            meta.setdefault("name", f"{meta.get('generateName', '')}{len(self.objects)}")
            return self.put(Resource(*served), request.data)
        if parts["name"] is None:
            return self._listed(key, request.params.get("labelSelector", ""))
        if key not in self.objects:
            missing = RefusalError(404, f'{parts["plural"]} "{parts["name"]}" not found')
            missing.details = {"name": parts["name"]}
            raise missing
        if parts["subresource"] == "scale" and parts["plural"] not in self.scalable:
            raise RefusalError(404, "the server could not find the requested resource")
        if method == "PATCH":
            return self._patched(key, parts["subresource"], request)
        shown = self.stale.get(key, self.objects[key])
        return _scale_of(shown) if parts["subresource"] == "scale" else shown

    def _fail_as_told(self, method: str, path: str) -> None:
        for fault in list(self.faults):
            if re.search(fault[0], f"{method} {path}"):
                self.faults.remove(fault)
                raise fault[1]

    def _discovered(self, group: str, version: str) -> Json:
        """Which resources a group has, as everybody may ask."""
        plurals = [plural for *served, plural in self.served if served == [group, version]]
        if not plurals:
            raise RefusalError(404, _UNKNOWN_PATH)
        names = [(plural, self.kinds.get(plural, plural[:-1].title())) for plural in plurals]
        return {
            "kind": "APIResourceList",
            "resources": [{"name": plural, "kind": kind} for plural, kind in names],
        }

    def _authorise(self, method: str, parts: dict[str, Any], user: str | None) -> None:
        if self.granted is None or "plural" not in parts or user == "Bearer admin":
            return
        verb = {"PATCH": "patch", "POST": "create"}.get(method, "get" if parts["name"] else "list")
        plural = "/".join(filter(None, (parts["plural"], parts["subresource"])))
        if not self._grants(parts["group"] or "", plural, verb):
            raise RefusalError(403, f"User cannot {verb} resource {plural}")

    def _grants(self, group: str, plural: str, verb: str) -> bool:
        return self.granted is None or any(
            group in rule["apiGroups"] and plural in rule["resources"] and verb in rule["verbs"]
            for rule in self.granted
        )

    def _reviewed(self, asked: Json) -> Json:
        """Answer an access review, which everybody may ask for."""
        plural = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        return {"status": {"allowed": self._grants(asked["group"], plural, asked["verb"])}}

    def _listed(self, key: Key, selector: str) -> Json:
        wanted = re.findall(r"[^,(]+(?:\([^)]*\))?", selector)
        items = [
            found
            for (group, plural, namespace, _), found in self.objects.items()
            if (group, plural) == key[:2]
            and key[2] in {None, namespace}
            and all(_matches(found["metadata"].get("labels", {}), term) for term in wanted)
        ]
        return {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}

    def _patched(self, key: Key, subresource: str | None, request: kmock.Request) -> Json:
        if self.before_patch is not None:
            callback, self.before_patch = self.before_patch, None
            callback()
        before = self.objects[key]
        shown = _scale_of(before) if subresource == "scale" else copy.deepcopy(before)
        shown = _apply(shown, request)
        if shown["metadata"].get("resourceVersion") != before["metadata"]["resourceVersion"]:
            raise RefusalError(409, "the object has been modified; please apply your changes to it")
        after = copy.deepcopy(before)
        if subresource == "scale":
            after["spec"]["replicas"] = shown["spec"]["replicas"]
        else:
            after = shown
        refused = self.admission.get(key[1], lambda _old, _new: None)(before, after)
        if refused and subresource != "scale":
            raise RefusalError(403 if "forbidden" in refused else 422, refused)
        if after["spec"] != before["spec"]:
            after["metadata"]["generation"] += 1
        after["metadata"].setdefault("managedFields", []).append(
            {"manager": request.params.get("fieldManager"), "subresource": subresource or ""}
        )
        self.touch(after)
        self.objects[key] = after
        if self.after_patch is not None:
            self.after_patch(key, after)
        return _scale_of(after) if subresource == "scale" else after


def _scale_of(found: Json) -> Json:
    meta = found["metadata"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta.get(name) for name in ("name", "namespace", "resourceVersion")},
        "spec": {"replicas": found["spec"].get("replicas", 0)},
        "status": {
            "replicas": found.get("status", {}).get("replicas", 0),
            "selector": _selector_of(found),
        },
    }


def _selector_of(found: Json) -> str:
    status = found.get("status", {})
    for name in ("selector", "hpaPodSelector", "scalingTargetSelector", "labelSelector"):
        if name in status:
            return str(status[name])
    labels = found["spec"].get("selector", {}).get("matchLabels", {})
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _matches(labels: Mapping[str, str], term: str) -> bool:
    """One requirement of a label selector, as the API server's documentation has them."""
    if among := re.fullmatch(r"(\S+) (in|notin) \((.*)\)", term):
        key, word, values = among.groups()
        return (labels.get(key) in values.split(",")) == (word == "in")
    key, operator, value = re.fullmatch(r"(!?[^=!]+)(!=|==?|)(.*)", term).groups()
    if not operator:
        return key in labels if key[0] != "!" else key[1:] not in labels
    return (labels.get(key) == value) == (operator != "!=")


def _apply(shown: Json, request: kmock.Request) -> Json:
    kind = request.headers["Content-Type"]
    if kind == "application/json-patch+json":
        try:
            return jsonpatch.apply_patch(shown, request.data)
        except jsonpatch.JsonPatchException as error:
            raise RefusalError(422, f"the server rejected our request: {error}") from None
    assert kind == "application/merge-patch+json"
    return _merged(shown, request.data)


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(new, dict):
        return new
    out = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = _merged(out.get(key), value)
    return out
