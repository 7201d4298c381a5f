"""The manifests of `deploy/kubernetes` as they are: complete, consistent, and with configurations that pass `check`.

`rendered.py` reads them as kubectl renders them.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import (
    KUBERNETES,
    SECRETS,
    Manifest,
    assert_monitored,
    assert_pod_fits,
    assert_selectors_agree,
    find_manifest,
    gateway_container,
    parse_configuration,
    parse_manifests,
    pod_template,
    write_checkable,
)
from tests.fakes.process import ROOT, run

CONFIGURATIONS = sorted(KUBERNETES.rglob("gateway.yaml"))
PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")


def read_configuration(folder: str) -> dict[str, Any]:
    return parse_configuration((KUBERNETES / folder / "gateway.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def base() -> list[Manifest]:
    """The manifests of the base, with the labels that kustomize adds."""
    folder = KUBERNETES / "base"
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    [rule] = kustomization["labels"]
    manifests = [
        manifest
        for name in kustomization["resources"]
        for manifest in parse_manifests((folder / name).read_text("utf-8"))
    ]
    for manifest in manifests:
        manifest["metadata"].setdefault("labels", {}).update(rule["pairs"])
    template = pod_template(find_manifest(manifests, "Deployment", "oic-gateway"))
    template.setdefault("metadata", {}).setdefault("labels", {}).update(rule["pairs"])
    return manifests


@pytest.mark.parametrize("file", CONFIGURATIONS, ids=lambda file: file.parent.name)
async def test_check_accepts_the_configuration(file: Path, tmp_path: Path) -> None:
    ended = await run("check", write_checkable(file, tmp_path))
    assert (ended.status, ended.err) == (0, ""), ended.out + ended.err
    assert "OK: 1 route, 1 credential" in ended.out


@pytest.mark.parametrize("file", sorted(KUBERNETES.rglob("kustomization.yaml")), ids=lambda file: file.parent.name)
def test_each_file_belongs_to_its_kustomization(file: Path) -> None:
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    named = {file.name, *document.get("resources", ()), *(patch["path"] for patch in document.get("patches", ()))}
    for generator in document.get("configMapGenerator", ()):
        named |= set(generator["files"])
    assert named == {each.name for each in file.parent.iterdir()}


def test_labels_and_selectors_agree(base: list[Manifest]) -> None:
    assert_selectors_agree(base, "oic-gateway")


def test_the_pod_fits_its_configuration(base: list[Manifest]) -> None:
    deployment = find_manifest(base, "Deployment", "oic-gateway")
    pod = pod_template(deployment)["spec"]
    assert deployment["spec"]["replicas"] == 2
    assert_pod_fits(pod, read_configuration("base"))
    assert "readinessProbe" in gateway_container(pod)


def test_prometheus_reaches_the_admin_port(base: list[Manifest]) -> None:
    assert_monitored(base, "oic-gateway", read_configuration("base"))


def test_the_secret_is_the_one_of_the_page(base: list[Manifest]) -> None:
    pod = pod_template(find_manifest(base, "Deployment", "oic-gateway"))["spec"]
    [secret] = [volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume]
    [path] = re.findall(
        rf"{SECRETS}/([\w-]+)}}$", (KUBERNETES / "base" / "gateway.yaml").read_text("utf-8"), re.MULTILINE
    )[-1:]
    assert f"kubectl create secret generic {secret} --from-file={path}" in PAGE


def test_a_cron_job_gets_the_sidecar_of_the_others() -> None:
    workload, cron_job = (
        pod_template(yaml.safe_load((KUBERNETES / "sidecar" / name).read_text(encoding="utf-8")))
        for name in ("workload.yaml", "cron-job.yaml")
    )
    assert workload == cron_job


def test_the_sidecar_fits_the_configuration_of_the_example() -> None:
    sidecar = pod_template(yaml.safe_load((KUBERNETES / "sidecar" / "workload.yaml").read_text(encoding="utf-8")))[
        "spec"
    ]
    configuration = read_configuration("example")
    assert {configuration[key].rpartition(":")[0] for key in ("listen", "admin")} == {"127.0.0.1"}
    for name in ("erp.yaml", "first-load.yaml", "nightly-export.yaml"):
        pod = pod_template(yaml.safe_load((KUBERNETES / "example" / name).read_text(encoding="utf-8")))["spec"]
        merged = pod | {key: [*sidecar[key], *pod.get(key, ())] for key in ("initContainers", "volumes")}
        assert_pod_fits(merged, configuration)
    assert gateway_container(sidecar | {"containers": []})["restartPolicy"] == "Always"
