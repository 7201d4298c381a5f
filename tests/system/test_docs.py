"""The documentation is true: it lists every key, code, field, metric, event and command, and its examples work."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from gateway.cli.commands import COMMANDS, parse
from gateway.config.load import load
from gateway.config.model import Config, CredentialSettings
from gateway.config.yaml_document import YamlDocument
from gateway.diagnosis.catalog import MISTAKES, CatalogEntry
from gateway.errors import ERRORS, GatewayError
from gateway.observe.metric_table import METRICS, PREFIX, MetricDefinition
from gateway.observe.record import FIELDS
from gateway.proxy.error_response import build_error_response
from gateway.proxy.headers import DROPPED, DROPPED_RESPONSE, SET_COOKIE, URL_FIELDS
from tests.fakes.process import ROOT, run, run_command

README = (ROOT / "README.md").read_text(encoding="utf-8")


def page(name: str) -> str:
    """The text of a page of the documentation."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """The cells of every table row."""
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def cells(text: str, first: str) -> list[str]:
    """The row whose first cell names this."""
    [row] = [row for row in rows(text) if re.search(rf"`{re.escape(first)}`", row[0])]
    return row


def keys(part: type[BaseModel]) -> Iterator[str]:
    """Every key that may be written anywhere in the file."""
    for name, field in part.model_fields.items():
        yield field.alias or name
        for inner in parts(field.annotation):
            yield from keys(inner)


def parts(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from parts(argument)


def test_each_configuration_key_is_documented() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    found = set(keys(Config))
    assert len(found) > 40
    for key in found:
        assert re.search(rf"[`.]{key}`", text), key


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_each_error_code_is_documented(error: type[GatewayError]) -> None:
    expected = [f"`{error.code}`", str(error.status), error.blame, error.meaning, error.remedy]
    assert expected in [[cell.strip("| ") for cell in row] for row in rows(page("errors.md"))]


def test_each_member_of_a_problem_document_is_documented() -> None:
    _, body = build_error_response(ERRORS[0](), request_id="1")
    table = page("errors.md").partition("## Problem documents")[2].partition("\n## ")[0]
    assert [f"`{member}`" for member in json.loads(body)] == [row[0].strip("| ") for row in rows(table)][2:]


@pytest.mark.parametrize(("code", "mistake"), MISTAKES.items(), ids=MISTAKES)
def test_each_setup_mistake_has_its_own_section(code: str, mistake: CatalogEntry) -> None:
    seen, means, remedy = mistake
    section = f"### `{code}`\n\n* **You see:** {seen}\n* **Cause:** {means}\n* **Remedy:** {remedy}\n"
    assert page("setup-mistakes.md").count(section) == 1, f"docs/setup-mistakes.md lacks this section:\n\n{section}"


def test_each_documented_setup_mistake_exists() -> None:
    assert set(re.findall(r"(?m)^### `(.+)`$", page("setup-mistakes.md"))) == set(MISTAKES)


@pytest.mark.parametrize(
    "field", sorted({*DROPPED, *DROPPED_RESPONSE, SET_COOKIE, b"cookie", *URL_FIELDS}), ids=bytes.decode
)
def test_each_header_field_with_a_rule_is_documented(field: bytes) -> None:
    documented = re.findall(r"`([A-Za-z0-9*-]+)", page("headers.md"))
    assert any(fnmatch(field.decode(), name.lower()) for name in documented)


@pytest.mark.parametrize("field", [*FIELDS, "reason"])
def test_each_field_of_the_record_is_documented(field: str) -> None:
    table = page("logging.md").partition("## The record")[2].partition("\n## ")[0]
    assert cells(table, field)[1]


@pytest.mark.parametrize(("name", "row"), METRICS.items(), ids=METRICS)
def test_each_metric_is_documented_with_type_and_labels(name: str, row: MetricDefinition) -> None:
    table = page("metrics.md")
    _, kind, labels, help_text = cells(table, name)
    assert kind == row.kind
    assert tuple(re.findall(r"`(\w+)`", labels)) == row.labels
    assert help_text.strip("| ") == row.help


def samples() -> dict[str, MetricDefinition]:
    """By the name of a sample, as a query names it: its metric."""
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix: row for name, row in METRICS.items() for suffix in suffixes.get(row.kind, ("",))}


def test_each_documented_metric_exists() -> None:
    known = {*samples(), *METRICS}
    bare = {name.removeprefix(PREFIX) for name in known}
    for file in (*documents(), *sorted((ROOT / "config").glob("*.*"))):
        text = file.read_text(encoding="utf-8")
        found = set(re.findall(r"(?<!--)\boic_gateway_\w+", text))
        assert found <= known, (file.name, found - known)
        assert not bare & set(re.findall(r"`(\w+)[`{]", text)) - WORDS, file.name


WORDS = {"workers"}
"""Metrics without their prefix that are also keys of the configuration."""


def events() -> set[str]:
    """Return the names that the code gives to its events: the third argument of `say`, and `event` in an `extra`."""
    names = {"log"}  # what a library says
    for file in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                is_say = getattr(node.func, "id", "") == "log_event"
                extras = [
                    item.value for item in node.keywords if item.arg == "extra" and isinstance(item.value, ast.Dict)
                ]
                named = [*node.args[2:3]] if is_say else [extra.values[0] for extra in extras]
                names |= {text for one in named for text in texts(one)}
    return names


def texts(node: ast.AST) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def test_each_event_is_documented() -> None:
    table = page("logging.md").partition("## Events")[2].partition("\n## ")[0]
    documented = {name for row in rows(table) for name in re.findall(r"`([a-z-]+)`", row[0])}
    found = events()
    assert {"started", "token-failed", "reload-refused", "defect"} <= found
    assert found <= documented, found - documented
    assert documented <= found, documented - found


def blocks(language: str, file: Path = ROOT / "README.md") -> list[str]:
    return re.findall(rf"(?m)^```{language}\n((?s:.*?))^```", file.read_text(encoding="utf-8"))


def test_readme_configuration_loads() -> None:
    [text] = [block for block in blocks("yaml") if "routes:" in block]
    assert len(text.strip().splitlines()) <= 10
    config = Config.model_validate(yaml.safe_load(text))
    assert [route.credential for route in config.routes] == list(config.credentials)


async def test_readme_configuration_passes_check(tmp_path: Path) -> None:
    [text] = [block for block in blocks("yaml") if "routes:" in block]
    secret = tmp_path / "secret"
    secret.write_text("a-secret", encoding="utf-8")
    secret.chmod(0o600)
    file = tmp_path / "gateway.yaml"
    file.write_text(re.sub(r"\{file: [^}]+\}", f"{{file: {secret}}}", text), encoding="utf-8")
    ended = await run("check", "-c", file)
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize("name", ["demo.yaml", "gateway.example.yaml"])
def test_shipped_configurations_load(name: str) -> None:
    loaded = load(ROOT / "config" / name, environ={}, check_secrets=False)
    assert not loaded.warnings


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("file", [*documents(), *sorted(ROOT.glob("[CS]*.md"))], ids=lambda file: file.name)
def test_each_internal_link_has_a_target(file: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", file.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        found = (file.parent / path) if path else file
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", found.read_text(encoding="utf-8"))
            assert anchor in {slug(heading) for heading in headings}, target


def test_the_layout_names_each_package_and_each_module_of_http() -> None:
    layout = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    packages = {file.parent.name for file in (ROOT / "gateway").glob("*/__init__.py")}
    assert set(re.findall(r"(?m)^  ([a-z]+)°?/", layout)) == packages
    modules = {file.stem for file in (ROOT / "gateway" / "http").glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"[a-z_]+", layout))


def test_each_module_that_the_architecture_names_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = re.findall(r"`(?:gateway/)?([a-z_]+/[a-z_/]+\.py)`", text)
    assert files
    assert [file for file in files if not (ROOT / "gateway" / file).is_file()] == []


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_each_documented_command_exists() -> None:
    known = {*COMMANDS, "help", "version"}
    for file in documents():
        for verb in re.findall(r"oic-gateway ([a-z]+)", "\n".join(re.findall(r"`([^`]+)`", file.read_text()))):
            assert verb in known, (file.name, verb)


def test_readme_lists_each_command() -> None:
    table = README.partition("\n## Commands\n")[2].partition("\n## ")[0].partition("\nAll commands")[0]
    names = [name for row in rows(table) for name in re.findall(r"`([a-z]+)(?: [A-Z\[\] ]+)?`", row[0])]
    assert sorted(names) == sorted(COMMANDS)


def all_blocks(language: str) -> list[Any]:
    return [
        pytest.param(text, id=f"{file.name}-{n}")
        for file in documents()
        for n, text in enumerate(blocks(language, file))
    ]


FOREIGN_KEYS = {"groups", "apiVersion", "components", "patches"}
"""Keys of rules for Prometheus, and of manifests; `tests/deploy/rendered.py` renders those."""


@pytest.mark.parametrize("text", all_blocks("yaml"))
def test_each_configuration_example_loads(tmp_path: Path, text: str) -> None:
    """A snippet has keys of the file, of a route or of a credential; the rest of the file is made up around it."""
    snippet = YamlDocument(text).value
    if FOREIGN_KEYS & set(snippet):
        return
    [credential] = {route["credential"] for route in snippet.get("routes", [])} or {"orders-app"}
    secret = {"client_secret": {"env": "SECRET"}}
    whole: dict[str, Any] = {
        "credentials": {credential: {"token_url": "https://idcs.example/token", "client_id": "x", **secret}},
        "routes": [{"name": "o", "path": "/", "upstream": "https://oic.example/", "credential": credential}],
    }
    for key, value in snippet.items():
        if key == "credentials":
            for name, one in value.items():
                whole["credentials"][name] = whole["credentials"].get(name, {}) | one
        elif key in Config.model_fields:
            whole[key] = value
        elif key in CredentialSettings.model_fields:
            whole["credentials"][credential][key] = value
        else:
            whole["routes"][0][key] = value
    file = tmp_path / "gateway.yaml"
    file.write_text(yaml.safe_dump(whole), encoding="utf-8")
    load(file, environ={}, check_secrets=False)


def commands(text: str) -> Iterator[list[str]]:
    """The words of each call of `oic-gateway` in a block of shell."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(re.split(r" [>&|]", line)[0], comments=True)
        if words[:1] == ["oic-gateway"]:
            yield words[1:]


@pytest.mark.parametrize("text", all_blocks("sh"))
def test_each_command_line_example_parses(text: str) -> None:
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
    for words in commands(text):
        if words[0] not in {"help", "version"}:
            parse(words[0], words[1:])  # a mistake ends with SystemExit


# In place of `sleep`: waits for what the command before has started, however slow the machine is.
WAITING = """
ip link set lo up
ports=({ports})
sleep() {{
  until (exec 3<>/dev/tcp/127.0.0.1/${{ports[0]}}) 2>/dev/null; do command sleep 0.05; done
  ports=("${{ports[@]:1}}")
}}
"""
AS_ROOT = () if os.geteuid() == 0 else ("--map-root-user",)


@pytest.mark.parametrize(
    ("number", "ports", "status", "shown"),
    [
        (0, "8181 8080", 0, ("hydraulic pump", "HTTP/1.1 201", "x-oracle-ics-instance-id")),
        (1, "8181", 0, ("FAIL", "ServiceInvoker")),
    ],
)
async def test_sandbox_examples_run(
    tmp_path: Path, number: int, ports: str, status: int, shown: tuple[str, ...]
) -> None:
    """In a network of its own, so that its ports are free."""
    text = blocks("sh", ROOT / "docs" / "sandbox.md")[number].replace("/tmp/mistake", str(tmp_path / "mistake"))
    script = WAITING.format(ports=ports) + text + "wait\n"
    ended, out, err = await run_command(
        *("unshare", "--net", *AS_ROOT, "--", "bash", "-c", script),
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    printed = (out + err).decode()
    assert ended == status, printed
    assert [text for text in shown if text not in printed] == [], printed
