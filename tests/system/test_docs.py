"""The words are true: what the code knows by name, the documents name too; what they show can be used."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from gateway.config.load import load
from gateway.config.model import Config
from gateway.errors import ERRORS, GatewayError
from gateway.mistakes import MISTAKES, Mistake
from gateway.observe.metrics import METRICS, PREFIX, Row
from gateway.observe.record import FIELDS
from tests.fakes.process import ROOT, run

OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


def test_every_configuration_key_is_in_its_reference() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    found = set(keys(Config))
    assert len(found) > 40
    for key in found:
        assert re.search(rf"[`.]{key}`", text), key


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_every_error_is_told_as_the_code_knows_it(error: type[GatewayError]) -> None:
    expected = [f"`{error.code}`", str(error.status), error.blame, error.meaning, error.remedy]
    assert expected in [[cell.strip("| ") for cell in row] for row in rows(OPERATIONS)]


@pytest.mark.parametrize(("code", "mistake"), MISTAKES.items(), ids=MISTAKES)
def test_every_mistake_is_told_as_the_code_knows_it(code: str, mistake: Mistake) -> None:
    table = OPERATIONS.partition("## The live check")[2].partition("\n## ")[0]
    assert [[cell.strip("| ") for cell in row] for row in rows(table)].count([f"`{code}`", *mistake]) == 1
    assert len(rows(table)) == len(MISTAKES) + 2


@pytest.mark.parametrize("field", [*FIELDS, "reason"])
def test_every_field_of_the_record_is_told(field: str) -> None:
    table = OPERATIONS.partition("## The record")[2].partition("\n## ")[0]
    assert cells(table, field)[1]


@pytest.mark.parametrize(("name", "row"), METRICS.items(), ids=METRICS)
def test_every_metric_is_told_with_its_kind_and_labels(name: str, row: Row) -> None:
    table = OPERATIONS.partition("## Metrics")[2]
    _, kind, labels, help_text = cells(table, name)
    assert kind == row.kind
    assert tuple(re.findall(r"`(\w+)`", labels)) == row.labels
    assert help_text.strip("| ") == row.help


def samples() -> dict[str, Row]:
    """By the name of a sample, as a query names it: its metric."""
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix: row for name, row in METRICS.items() for suffix in suffixes.get(row.kind, ("",))}


def test_every_metric_that_a_document_names_exists_in_full() -> None:
    known = {*samples(), *METRICS}
    bare = {name.removeprefix(PREFIX) for name in known}
    for file in (*documents(), *sorted((ROOT / "config").glob("*.*"))):
        text = file.read_text(encoding="utf-8")
        found = set(re.findall(r"(?<!--)\boic_gateway_\w+", text))
        assert found <= known, (file.name, found - known)
        assert not bare & set(re.findall(r"`(\w+)[`{]", text)) - WORDS, file.name


WORDS = {"workers"}
"""Metrics without their prefix that are also keys of the configuration."""


def alerts() -> list[str]:
    [rules] = re.findall(r"```yaml\n(groups:.*?)```", OPERATIONS, re.DOTALL)
    return [rule["expr"] for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("expression", alerts())
def test_every_alert_asks_for_samples_and_labels_that_exist(expression: str) -> None:
    metrics = re.findall(r"(oic_gateway_\w+)(?:\{(.*?)\})?", expression)
    assert metrics
    for name, matchers in metrics:
        labels = {*samples()[name].labels, "instance"}
        assert set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", matchers)) <= labels
        for group in re.findall(r"by \((.*?)\)", expression):
            assert set(group.split(", ")) <= labels


def events() -> set[str]:
    """The names that the code gives to its events: the third argument of `say`, and `event` in an `extra`."""
    names = {"log"}  # what a library says
    for file in (ROOT / "gateway").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                is_say = getattr(node.func, "id", "") == "say"
                extras = [
                    item.value for item in node.keywords if item.arg == "extra" and isinstance(item.value, ast.Dict)
                ]
                named = [*node.args[2:3]] if is_say else [extra.values[0] for extra in extras]
                names |= {text for one in named for text in texts(one)}
    return names


def texts(node: ast.AST) -> set[str]:
    return {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}


def test_every_event_is_told() -> None:
    table = OPERATIONS.partition("## Events")[2].partition("\n## ")[0]
    told = {name for row in rows(table) for name in re.findall(r"`([a-z-]+)`", row[0])}
    found = events()
    assert {"started", "token-failed", "reload-refused", "defect"} <= found
    assert found <= told, found - told
    assert told <= found, told - found


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_readme_s_configuration_loads() -> None:
    [text] = [block for block in blocks("yaml") if "routes:" in block]
    assert len(text.strip().splitlines()) <= 10
    config = Config.model_validate(yaml.safe_load(text))
    assert [route.credential for route in config.routes] == list(config.credentials)


async def test_the_readme_s_configuration_is_good_to_check(tmp_path: Path) -> None:
    [text] = [block for block in blocks("yaml") if "routes:" in block]
    secret = tmp_path / "secret"
    secret.write_text("a-secret", encoding="utf-8")
    secret.chmod(0o600)
    file = tmp_path / "gateway.yaml"
    file.write_text(re.sub(r"\{file: [^}]+\}", f"{{file: {secret}}}", text), encoding="utf-8")
    ended = await run("check", "-c", file)
    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize("name", ["demo.yaml", "gateway.example.yaml"])
def test_the_files_that_are_shipped_load(name: str) -> None:
    loaded = load(ROOT / "config" / name, environ={}, check_secrets=False)
    assert not loaded.warnings


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("file", documents(), ids=lambda file: file.name)
def test_every_link_within_leads_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", file.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        found = (file.parent / path) if path else file
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"(?m)^#+ (.+)$", found.read_text(encoding="utf-8"))
            assert anchor in {slug(heading) for heading in headings}, target


def slug(heading: str) -> str:
    """A heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_every_command_in_the_documents_is_a_verb() -> None:
    known = {"serve", "check", "token", "login", "logout", "init", "sandbox", "probe", "instances", "schema"}
    for file in documents():
        for verb in re.findall(r"oic-gateway ([a-z]+)", "\n".join(re.findall(r"`([^`]+)`", file.read_text()))):
            assert verb in known, (file.name, verb)
