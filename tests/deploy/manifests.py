"""Manifests of Kubernetes as plain values, and what must hold for each set of them, however it was rendered."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from gateway.cli.commands import parse
from gateway.config.yaml_document import YamlDocument
from gateway.server.lifecycle import STOP_MARGIN
from tests.fakes.process import ROOT

Manifest = dict[str, Any]

KUBERNETES = ROOT / "deploy" / "kubernetes"
CHART = ROOT / "deploy" / "helm" / "oic-gateway"
SECRETS = "/run/secrets/oic-gateway"
CONFIGURATION = "/etc/oic-gateway"
IMAGE_USER = 10001


def parse_manifests(text: str) -> list[Manifest]:
    """Return the documents of a stream that are not empty."""
    return [document for document in yaml.safe_load_all(text) if document]


def find_manifest(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """Return the only one of this kind and name."""
    [found] = [each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def pod_template(workload: Manifest) -> Manifest:
    """Return the pod of a Deployment, Job or CronJob with its metadata."""
    spec = workload["spec"]
    template: Manifest = (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]
    return template


def gateway_container(pod: Manifest) -> Manifest:
    """Return the gateway among the containers of a pod."""
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    found: Manifest
    [found] = [each for each in containers if each.get("args", [""])[0] == "serve"]
    return found


def configuration_of(config_map: Manifest) -> dict[str, Any]:
    """Return the gateway's configuration in a ConfigMap."""
    return parse_configuration(config_map["data"]["gateway.yaml"])


def parse_configuration(text: str) -> dict[str, Any]:
    """Return a configuration as plain values."""
    value: dict[str, Any] = YamlDocument(text).value
    return value


def seconds(text: str) -> float:
    """Return a duration of the configuration that is in seconds."""
    [number] = re.findall(r"^(\d+)s$", text)
    return float(number)


def write_checkable(configuration: Path, folder: Path) -> Path:
    """Write a pod's configuration for this machine: the secrets that it names are files beside it."""
    text = configuration.read_text(encoding="utf-8")
    for name in re.findall(rf"{SECRETS}/([\w-]+)", text):
        secret = folder / name
        secret.write_text("example-client-secret-0123456789", encoding="ascii")
        secret.chmod(0o400)
    file = folder / "gateway.yaml"
    file.write_text(text.replace(SECRETS, str(folder)), encoding="utf-8")
    return file


def assert_selected(labels: dict[str, str], selector: dict[str, str]) -> None:
    """Fail if a selector is empty or does not select these labels."""
    assert selector
    assert selector.items() <= labels.items(), (selector, labels)


def assert_selectors_agree(manifests: list[Manifest], name: str) -> None:
    """Fail if a selector of the gateway's own manifests does not select its pods, or one of others does."""
    deployment = find_manifest(manifests, "Deployment", name)
    labels = pod_template(deployment)["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        *(
            each["labelSelector"]["matchLabels"]
            for each in pod_template(deployment)["spec"]["topologySpreadConstraints"]
        ),
        find_manifest(manifests, "PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"],
        find_manifest(manifests, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"],
        *(each["spec"]["selector"] for each in manifests if each["kind"] == "Service"),
    ]
    for selector in selectors:
        assert_selected(labels, selector)
    for peer in policy_peers(find_manifest(manifests, "NetworkPolicy", name)):
        # A label of the gateway in the selector of a peer would keep the peer out.
        assert not labels.items() & peer.get("podSelector", {}).get("matchLabels", {}).items()


def policy_peers(policy: Manifest) -> Iterator[Manifest]:
    """Yield each peer of a NetworkPolicy."""
    for rule in policy["spec"]["ingress"]:
        yield from rule["from"]
    for rule in policy["spec"]["egress"]:
        yield from rule["to"]


def assert_pod_fits(pod: Manifest, configuration: dict[str, Any]) -> None:
    """Fail if the gateway's container in a pod and its configuration contradict each other."""
    container = gateway_container(pod)
    assert container["args"] == ["serve", f"{CONFIGURATION}/gateway.yaml"]
    assert_confined({**pod.get("securityContext", {}), **container["securityContext"]})
    port = configuration["admin"].rpartition(":")[2]
    probes = {key: container[key]["exec"]["command"] for key in container if key.endswith("Probe")}
    for kind, (program, verb, *words) in probes.items():
        options = parse(verb, words)
        assert (program, verb, options.admin) == ("oic-gateway", "probe", f"127.0.0.1:{port}")
        assert options.liveness is (kind != "readinessProbe")
        assert container[kind]["timeoutSeconds"] > options.timeout
    assert {"startupProbe", "livenessProbe"} <= set(probes)
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {CONFIGURATION, SECRETS}
    assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
    [pause] = [int(command[1]) for command in _pre_stop(container)] or [0]
    assert pod["terminationGracePeriodSeconds"] >= pause + seconds(configuration["drain"]) + STOP_MARGIN


def _pre_stop(container: Manifest) -> Iterator[list[str]]:
    if "lifecycle" in container:
        yield container["lifecycle"]["preStop"]["exec"]["command"]


def assert_confined(context: Manifest) -> None:
    """Fail if a container may do what the gateway does not need."""
    assert context["runAsNonRoot"]
    assert (context["runAsUser"], context["runAsGroup"]) == (IMAGE_USER, IMAGE_USER)
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def assert_monitored(manifests: list[Manifest], name: str, configuration: dict[str, Any]) -> None:
    """Fail if the ServiceMonitor does not lead to the admin port of the pods. The Prometheus Operator defines it; its
    schema is not among those of Kubernetes.
    """
    monitor = find_manifest(manifests, "ServiceMonitor", name)
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    [endpoint] = monitor["spec"]["endpoints"]
    assert set(endpoint) == {"port", "path", "interval"}
    assert endpoint["path"] == "/metrics"
    services = [each for each in manifests if each["kind"] == "Service"]
    selector = monitor["spec"]["selector"]["matchLabels"]
    [service] = [each for each in services if selector.items() <= each["metadata"]["labels"].items()]
    [port] = [each for each in service["spec"]["ports"] if each["name"] == endpoint["port"]]
    container = gateway_container(pod_template(find_manifest(manifests, "Deployment", name))["spec"])
    numbers = {each["name"]: str(each["containerPort"]) for each in container["ports"]}
    assert numbers[port["targetPort"]] == configuration["admin"].rpartition(":")[2]
    assert not configuration["admin"].startswith("127.")
    assert numbers["http"] == configuration["listen"].rpartition(":")[2]
