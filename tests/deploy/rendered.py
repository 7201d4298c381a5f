"""The manifests of `deploy`, rendered by kubectl and Helm and validated against the schemas of Kubernetes.

Run by `make test-deploy`. kubectl and Helm come from an npm package, the schemas from a package of PyPI.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import (
    CHART,
    KUBERNETES,
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
KUBECTL, HELM, VALIDATOR = TOOLS / "kubectl", TOOLS / "helm", TOOLS / "bin" / "kubernetes-validate"
VERSIONS = ("1.29", "1.37")
"""The oldest version with sidecars that are on by default, and the newest one of the schemas."""
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


async def test_the_examples_of_the_page_are_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    install, no_monitor, _, job = re.findall(r"(?s)```yaml\n(.*?)```", page)
    overlay = {"kustomization.yaml": install + no_monitor, "gateway.yaml": "listen: 0.0.0.0:8080\n"}
    rendered = await render(write_overlay(tmp_path, overlay))
    await assert_valid(rendered, VERSIONS[-1])
    await assert_valid(job, VERSIONS[0])
    manifests = parse_manifests(rendered)
    assert "ServiceMonitor" not in [each["kind"] for each in manifests]
    assert {each["metadata"]["namespace"] for each in manifests} == {"integration"}
    pod = pod_template(find_manifest(manifests, "Deployment", "oic-gateway"))["spec"]
    assert pod["containers"][0]["image"] == "registry.example.com/oic-gateway:0.1.0"
    assert configuration_of(config_map_of(manifests, pod)) == {"listen": "0.0.0.0:8080"}


# Helm -----------------------------------------------------------------------------------------------------------------

OF_HELM = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
    "annotations",
    "image",
    "imagePullPolicy",
}
"""Keys that only the chart sets, or sets by its own rule."""
TURNED_OFF = {f"{name}.enabled": "false" for name in ("networkPolicy", "serviceMonitor", "podDisruptionBudget")}


async def run_helm(*arguments: str | Path) -> tuple[int, str]:
    status, out, err = await run_command(HELM, *arguments)
    return status, (out + err).decode()


async def render_chart(release: str = "oic-gateway", *options: str | Path, **values: str) -> str:
    """Return what Helm would apply; `values` are dotted paths."""
    words = [word for path, value in values.items() for word in ("--set", f"{path}={value}")]
    status, out = await run_helm("template", release, CHART, *options, *words)
    assert status == 0, out
    return out


def substance(value: Any) -> Any:
    """Return manifests without what may differ between chart and base."""
    if isinstance(value, dict):
        return {key: substance(inner) for key, inner in value.items() if key not in OF_HELM}
    if isinstance(value, list):
        return [substance(inner) for inner in value]
    return re.sub(r"^oic-gateway-[a-z0-9]{10}$", "oic-gateway", value) if isinstance(value, str) else value


def by_name(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    """Return each manifest in substance, a ConfigMap with its configuration as values."""
    for manifest in manifests:
        if manifest["kind"] == "ConfigMap":
            manifest["data"] = configuration_of(manifest)
            manifest["metadata"].pop("labels", None)
    plain = substance(manifests)
    return {(each["kind"], each["metadata"]["name"]): each for each in plain}


async def test_helm_lints_the_chart() -> None:
    status, out = await run_helm("lint", "--strict", CHART)
    assert status == 0, out


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "values",
    [
        {},
        TURNED_OFF,
        {f"networkPolicy.{name}": "null" for name in ("callers", "prometheus", "dns", "upstreams", "redis")},
        {
            "podLabels.team": "integration",
            "podAnnotations.note": "x",
            "serviceMonitor.labels.release": "prometheus",
            "imagePullSecrets[0].name": "registry",
            "nodeSelector.disk": "ssd",
            "tolerations[0].operator": "Exists",
            "networkPolicy.egress[0].ports[0].port": "8443",
        },
    ],
    ids=["default", "little", "closed", "much"],
)
async def test_the_chart_matches_the_schemas(values: dict[str, str], version: str) -> None:
    await assert_valid(await render_chart(**values), version)


async def test_chart_and_base_have_the_same_content() -> None:
    assert by_name(parse_manifests(await render_chart())) == by_name(await render_manifests("base"))


async def test_another_release_is_consistent() -> None:
    ports = {"config.listen": "0.0.0.0:8081", "config.admin": "0.0.0.0:9091"}
    manifests = parse_manifests(await render_chart("integration", **ports))
    name = "integration-oic-gateway"
    pod = pod_template(find_manifest(manifests, "Deployment", name))["spec"]
    configuration = configuration_of(config_map_of(manifests, pod))
    assert_selectors_agree(manifests, name)
    assert_pod_fits(pod, configuration)
    assert_monitored(manifests, name, configuration)


async def test_a_changed_configuration_replaces_the_pods() -> None:
    checksums = []
    for drain in ("330s", "300s"):
        manifests = parse_manifests(await render_chart(**{"config.drain": drain}))
        template = pod_template(find_manifest(manifests, "Deployment", "oic-gateway"))
        checksums.append(template["metadata"]["annotations"]["checksum/config"])
    assert len(set(checksums)) == 2


@pytest.mark.parametrize("admin", ["127.0.0.1:9090", "localhost:9090", "[::1]:9090"])
async def test_a_monitor_of_a_loopback_port_is_refused(admin: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"config": {"admin": admin}}), "utf-8")
    status, out = await run_helm("template", "oic-gateway", CHART, "--values", values)
    assert status != 0
    assert "serviceMonitor.enabled" in out
    manifests = parse_manifests(await render_chart("oic-gateway", "--values", values, **TURNED_OFF))
    pod = pod_template(find_manifest(manifests, "Deployment", "oic-gateway"))["spec"]
    assert pod["containers"][0]["ports"][1]["containerPort"] == 9090


async def test_helm_rejects_an_unknown_value() -> None:
    status, out = await run_helm("template", "oic-gateway", CHART, "--set", "replica=3")
    assert status != 0
    assert "replica" in out
