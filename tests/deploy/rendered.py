"""The manifests of `deploy`, rendered by kubectl and validated against the schemas of Kubernetes.

Run by `make test-deploy`. kubectl and Helm come from an npm package, the schemas from a package of PyPI.
"""

import os
import re
import sys
from pathlib import Path

import pytest

from tests.deploy.manifests import (
    Manifest,
    assert_monitored,
    assert_pod_fits,
    assert_selectors_agree,
    configuration_of,
    find_manifest,
    parse_manifests,
    pod_template,
)
from tests.fakes.process import ROOT, run_command

TOOLS = Path(sys.prefix) / "deploy"
KUBECTL, VALIDATOR = TOOLS / "kubectl", TOOLS / "bin" / "kubernetes-validate"
VERSIONS = ("1.29", "1.37")
"""The oldest version with sidecars that are on by default, and the newest one of the schemas."""
KUBERNETES = ROOT / "deploy" / "kubernetes"
DOCUMENTED = "../deploy/kubernetes"


async def render(folder: Path) -> str:
    """Return what kubectl would apply."""
    status, out, err = await run_command(KUBECTL, "kustomize", folder)
    assert status == 0, err.decode()
    return out.decode()


async def assert_valid(rendered: str, version: str) -> None:
    """Fail if one of the manifests does not match the schema of its kind; the one of ServiceMonitor is not there."""
    command = (VALIDATOR, "--strict", "--kubernetes-version", version, "-")
    status, out, err = await run_command(*command, stdin=rendered.encode())
    lines = out.decode().splitlines()
    others = [line for line in lines if " passed for resource " not in line and "for kind ServiceMonitor " not in line]
    assert (status, others) == (0, []), out.decode() + err.decode()
    assert len(lines) == len(parse_manifests(rendered))


async def render_manifests(name: str) -> list[Manifest]:
    return parse_manifests(await render(KUBERNETES / name))


def config_map_of(manifests: list[Manifest], pod: Manifest) -> Manifest:
    """Return the ConfigMap that a pod mounts, under the name that kustomize gave it."""
    [name] = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    return find_manifest(manifests, "ConfigMap", name)


def write_overlay(folder: Path, files: dict[str, str]) -> Path:
    """Write an overlay that finds the manifests where the page has them. kustomize knows no absolute paths."""
    for name, text in files.items():
        (folder / name).write_text(text.replace(DOCUMENTED, os.path.relpath(KUBERNETES, folder)), "utf-8")
    return folder


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["base", "example"])
async def test_manifests_match_the_schemas(name: str, version: str) -> None:
    await assert_valid(await render(KUBERNETES / name), version)


async def test_the_validator_rejects_an_unknown_key() -> None:
    rendered = (await render(KUBERNETES / "base")).replace("replicas:", "copies:")
    with pytest.raises(AssertionError, match="copies"):
        await assert_valid(rendered, VERSIONS[-1])


async def test_the_base_is_consistent() -> None:
    manifests = await render_manifests("base")
    pod = pod_template(find_manifest(manifests, "Deployment", "oic-gateway"))["spec"]
    configuration = configuration_of(config_map_of(manifests, pod))
    assert_selectors_agree(manifests, "oic-gateway")
    assert_pod_fits(pod, configuration)
    assert_monitored(manifests, "oic-gateway", configuration)


@pytest.mark.parametrize(
    ("kind", "name"), [("Deployment", "erp"), ("Job", "first-load"), ("CronJob", "nightly-export")]
)
async def test_the_sidecar_is_added_to_each_workload(kind: str, name: str) -> None:
    manifests = await render_manifests("example")
    pod = pod_template(find_manifest(manifests, kind, name))["spec"]
    sidecar = pod["initContainers"][0]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("oic-gateway", "Always")
    assert sidecar["image"] == "registry.example.com/oic-gateway:0.1.0"
    assert_pod_fits(pod, configuration_of(config_map_of(manifests, pod)))


async def test_a_workload_without_the_label_is_unchanged(tmp_path: Path) -> None:
    workload = (KUBERNETES / "example" / "erp.yaml").read_text("utf-8").replace("oic-gateway-sidecar", "other")
    kustomization = f"resources: [erp.yaml]\ncomponents: [{DOCUMENTED}/sidecar]\n"
    overlay = {"kustomization.yaml": kustomization, "erp.yaml": workload}
    [deployment] = parse_manifests(await render(write_overlay(tmp_path, overlay)))
    assert [each["name"] for each in pod_template(deployment)["spec"]["initContainers"]] == ["migrate"]


async def test_the_overlay_of_the_page_is_rendered(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    install, no_monitor, _ = re.findall(r"(?s)```yaml\n(.*?)```", page)
    overlay = {"kustomization.yaml": install + no_monitor, "gateway.yaml": "listen: 0.0.0.0:8080\n"}
    rendered = await render(write_overlay(tmp_path, overlay))
    await assert_valid(rendered, VERSIONS[-1])
    manifests = parse_manifests(rendered)
    assert "ServiceMonitor" not in [each["kind"] for each in manifests]
    assert {each["metadata"]["namespace"] for each in manifests} == {"integration"}
    pod = pod_template(find_manifest(manifests, "Deployment", "oic-gateway"))["spec"]
    assert pod["containers"][0]["image"] == "registry.example.com/oic-gateway:0.1.0"
    assert configuration_of(config_map_of(manifests, pod)) == {"listen": "0.0.0.0:8080"}
