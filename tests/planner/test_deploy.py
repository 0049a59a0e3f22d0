"""The manifests that ship: complete, valid against the API's own types, and restricted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from kubernetes.aio import client

from planner.workloads.config import WorkloadConfig
from policies.config import PolicySettings

DEPLOY = Path(__file__).parents[2] / "deploy"
MODELS = {
    "ConfigMap": client.V1ConfigMap,
    "Deployment": client.V1Deployment,
    "Role": client.V1Role,
    "RoleBinding": client.V1RoleBinding,
    "Service": client.V1Service,
    "ServiceAccount": client.V1ServiceAccount,
}
SETS = [
    pytest.param("service", "planner", id="service"),
    pytest.param("example-sidecar", "pd-planner", id="sidecar"),
]


def kustomized(folder: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", "kustomize", str(DEPLOY / folder)],  # noqa: S607 - the PATH is the user's
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def rendered(folder: str) -> list[dict]:
    done = kustomized(folder)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def sources() -> list:
    """Every object as written, but for the patch, which is none by itself."""
    return [
        pytest.param(document, id=f"{path.relative_to(DEPLOY)}:{document['kind']}")
        for path in sorted(DEPLOY.rglob("*.yaml"))
        if path.name != "container.yaml"
        for document in yaml.safe_load_all(path.read_text())
        if document.get("kind") in MODELS
    ]


# Components need kustomize 4, which Debian's kubectl does not have; then only the sources are
# checked.
kustomize = pytest.mark.skipif(
    shutil.which("kubectl") is None or kustomized("access").returncode != 0,
    reason="needs kubectl 1.21 or newer on PATH",
)


def the(kind: str, documents: list[dict]) -> dict:
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


@pytest.mark.parametrize("document", sources())
def test_every_key_is_known_to_the_api(document):
    """Read into the API's typed models and written back, nothing is lost."""
    model = MODELS[document["kind"]].from_dict(document)
    assert client.ApiClient.sanitize_for_serialization(_Bare(), model) == document


def test_every_key_of_the_sidecar_is_known_to_the_api():
    patch = yaml.safe_load((DEPLOY / "sidecar" / "container.yaml").read_text())
    template = patch["spec"]["template"]
    model = client.V1PodTemplateSpec.from_dict(template)
    assert client.ApiClient.sanitize_for_serialization(_Bare(), model) == template


def test_the_sidecar_patches_the_front_end_of_its_example():
    kustomization = yaml.safe_load((DEPLOY / "sidecar" / "kustomization.yaml").read_text())
    (patch,) = kustomization["patches"]
    key, value = patch["target"]["labelSelector"].split("=")
    frontend = yaml.safe_load((DEPLOY / "example-sidecar" / "frontend.yaml").read_text())
    assert frontend["kind"] == patch["target"]["kind"]
    assert frontend["metadata"]["labels"][key] == value


class _Bare(client.ApiClient):
    """Only the serialiser: no connection."""

    def __init__(self) -> None:
        pass


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("kustomization.yaml")), ids=str)
def test_every_file_that_a_kustomization_names_exists(path):
    kustomization = yaml.safe_load(path.read_text())
    named = [
        *kustomization.get("resources", []),
        *kustomization.get("components", []),
        *(patch["path"] for patch in kustomization.get("patches", [])),
        *(one for each in kustomization.get("configMapGenerator", []) for one in each["files"]),
    ]
    assert named
    missing = [name for name in named if not (path.parent / name).exists()]
    assert missing == []


@kustomize
@pytest.mark.parametrize(("folder", "container"), SETS)
def test_the_planner_runs_restricted_and_with_its_settings(folder, container):
    found = rendered(folder)
    pod = the("Deployment", found)["spec"]["template"]["spec"]
    (planner,) = (each for each in pod["containers"] if each["name"] == container)
    context = {**pod.get("securityContext", {}), **planner["securityContext"]}
    assert context["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert planner["resources"]["requests"]
    assert planner["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert pod["serviceAccountName"] == the("ServiceAccount", found)["metadata"]["name"]
    mounted = [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each]
    assert mounted == [the("ConfigMap", found)["metadata"]["name"]]
    (path,) = (
        each["mountPath"] for each in planner["volumeMounts"] if each["name"].endswith("settings")
    )
    assert planner["args"] == ["run", "-c", f"{path}/planner.yaml"]


@kustomize
@pytest.mark.parametrize("folder", ["service", "example-sidecar"])
def test_the_binding_names_the_account_in_its_namespace(folder):
    found = rendered(folder)
    (subject,) = the("RoleBinding", found)["subjects"]
    account = the("ServiceAccount", found)["metadata"]
    assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])
    assert the("RoleBinding", found)["roleRef"]["name"] == the("Role", found)["metadata"]["name"]


@kustomize
def test_the_sidecar_leaves_the_front_end_as_it_is():
    source = yaml.safe_load((DEPLOY / "example-sidecar" / "frontend.yaml").read_text())
    pod = the("Deployment", rendered("example-sidecar"))["spec"]["template"]["spec"]
    router = source["spec"]["template"]["spec"]["containers"][0]
    assert router in pod["containers"]
    assert len(pod["containers"]) == 2


def test_the_service_finds_the_pod():
    service = yaml.safe_load((DEPLOY / "service" / "service.yaml").read_text())
    deployment = yaml.safe_load((DEPLOY / "service" / "deployment.yaml").read_text())
    pod = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"] == pod["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    names = [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
    assert service["spec"]["ports"][0]["targetPort"] in names


def test_the_settings_are_valid_and_advise():
    settings = yaml.safe_load((DEPLOY / "settings" / "planner.yaml").read_text())
    assert settings["mode"] == "advise"
    assert WorkloadConfig.model_validate(settings["workload"]).namespace == "llm"
    PolicySettings.model_validate(settings["policy"])


def test_the_image_holds_what_the_wheel_needs_and_runs_as_nobody():
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    packages = {"forecasting", "policies", "replay", "planner"}
    assert packages | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"} <= copied
    assert "USER 65532:65532" in lines
    allowed = (DEPLOY.parent / ".containerignore").read_text().split()
    assert {f"!{name}" for name in copied if not name.startswith("--") and "/" not in name} <= set(
        allowed
    )
