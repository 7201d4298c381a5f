"""The schema in the validators that editors and pipelines use: check-jsonschema, and Ajv in its strict mode.

Both read patterns as ECMA-262 in its Unicode mode does, which is narrower than Python. `make test` installs them.
"""

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.sandbox import inline_config
from gateway.config.load import ConfigProblems, load
from gateway.config.schema import schema
from gateway.config.yaml_document import YamlDocument
from gateway.sandbox import Sandbox
from tests.config.test_schema import EXAMPLE, FOLDER, UNCOVERED

VENV = Path(sys.prefix)
AJV = VENV / "ajv" / "node_modules"
OCID = "ocid1.vaultsecret.oc1.phx.amaaaaaa"

# Each is what `load` takes: the plain file, changed at these places; None takes a key away.
GOOD: tuple[dict[str, Any], ...] = (
    {},
    {"listen": "[::1]:8080", "admin": "unix:/run/admin"},
    {"listen": "HOST:65535", "allow": ["10.0.0.0/8", "fd00::/8"]},
    {"listen": ["127.0.0.1:1", {"address": "unix:/run/gateway"}]},
    {"listen": [{"address": "127.0.0.1:1", "proxy_protocol": ["10.0.0.5/32", "fd00::5/128"]}]},
    {
        "listen": [
            {"address": "127.0.0.1:1", "tls": {"cert": "c.pem", "client_ca": "a", "client_certificate": "required"}}
        ]
    },
    {"workers": "auto"},
    {"workers": 64},
    {"public_url": "HTTPS://gw.example.com:8443/base/"},
    {"state": {"path": "state.db", "keys": [{"file": "key"}]}},
    {"state": {"redis": {"url": "redis://host:6379/0"}, "keys": [{"env": "KEY"}], "path": None}},
    {"credentials.app.client_secret": [{"file": "a"}, {"env": "B"}, {"credential": "app-1"}, {"oci_vault": OCID}]},
    {"credentials.app.client_secret": {"vault": {"path": "apps/orders", "field": "secret"}}},
    {"vault": {"url": "https://vault.corp:8200", "auth": {"token": {"file": "token"}}}},
    {"vault": {"auth": {"approle": {"role_id": "id", "secret_id": {"env": "SECRET_ID"}}}, "namespace": "a/b/"}},
    {"vault": {"auth": {"kubernetes": {"role": "gateway"}}, "mount": "kv/apps"}},
    {"credentials.app.client_secret": {"file": "a", "env": None}},
    {"credentials.app.scope": ["one", "two"]},
    {"credentials.app.resource": "urn:x"},
    {"credentials.app.token_url": "http://127.0.0.1/token?a=b#c"},
    {"routes.0.methods": ["GET"], "routes.0.timeout": {"connect": "250ms"}},
    {"routes.0.headers": {"set": {"X-Source": "legacy ${route}"}, "remove": ["X-Old"]}},
    {"routes.0.instance_id": [{"json": "/oicInstanceId/a~1b/~0"}, {"xml": "oicInstanceId"}]},
    {"routes.0.origins": ["https://app.example.com"]},
    {"limits": {"body": "50MB", "uri": "1KiB"}},
    {"watch": True, "include": []},
)
BAD: tuple[dict[str, Any], ...] = (
    {"credentials.app.client_secret": {"credential": "../app"}},
    {"listen": "127.0.0.1"},
    {"listen": "127.0.0.1:http"},
    {"listen": 8080},
    {"listen": []},
    {"listen": [8080]},
    {"listen": [{}]},
    {"listen": [["127.0.0.1:1"]]},
    {"listen": {"address": "127.0.0.1:1"}},
    {"listen": [{"address": "127.0.0.1:1", "port": 1}]},
    {"listen": [{"address": "127.0.0.1:1", "tls": {"key": "k.pem"}}]},
    {"listen": [{"address": "127.0.0.1:1", "proxy_protocol": []}]},
    {"listen": [{"address": "127.0.0.1:1", "tls": {"cert": "c.pem", "client_ca": "a", "client_certificate": "maybe"}}]},
    {"listen": [f"127.0.0.1:{port}" for port in range(33)]},
    {"workers": 0},
    {"workers": "many"},
    {"drain": "5"},
    {"drain": 5},
    {"limits": {"body": "50 MB"}},
    {"pool": {"size": 0}},
    {"hosts": ["https://gw.example.com"]},
    {"public_url": "gw.example.com"},
    {"public_url": "https://gw.example.com/?a=b"},
    {"log": {"level": "loud"}},
    {"log": {"to": "journal"}},
    {"log": {"to": {"syslog": "/dev/log"}}},
    {"credentials": {}},
    {"credentials": {"a b": {"token_url": "https://idcs.example/token", "client_id": "x"}}},
    {"credentials.app.token_url": None},
    {"credentials.app.token_url": "idcs.example/token"},
    {"credentials.app.token_url": "https://idcs.example/to ken"},
    {"credentials.app.client_id": ""},
    {"credentials.app.client_secret": "a-secret"},
    {"credentials.app.client_secret": {}},
    {"credentials.app.client_secret": {"file": "a", "env": "B"}},
    {"credentials.app.client_secret": {"env": "a-b"}},
    {"credentials.app.client_secret": {"oci_vault": "ocid1.vault.oc1.phx.x"}},
    {"credentials.app.client_secret": {"vault": "apps/orders"}},
    {"credentials.app.client_secret": {"vault": {"path": "/apps/orders", "field": "secret"}}},
    {"credentials.app.client_secret": {"vault": {"path": "apps"}}},
    {"vault": {"auth": {}}},
    {"vault": {"auth": {"token": {"env": "A"}, "kubernetes": {"role": "gateway"}}}},
    {"credentials.app.client_secret": []},
    {"credentials.app.grant": "implicit"},
    {"credentials.app.secret": {"file": "a"}},
    {"state": {"path": "state.db"}},
    {"state": {"path": "state.db", "keys": []}},
    {"state": {"keys": [{"file": "key"}]}},
    {"state": {"path": "a", "redis": {"url": "redis://host:6379/0"}, "keys": [{"file": "key"}]}},
    {"routes": []},
    {"include": "teams/*.yaml"},
    {"include": [""]},
    {"include": [{"path": "/a/"}]},
    {"include": [{"files": "a.yaml", "path": "a/"}]},
    {"watch": "yes"},
    {"routes.0.path": "orders/"},
    {"routes.0.name": "-orders"},
    {"routes.0.upstream": None},
    {"routes.0.upstream": "ftp://oic.example/"},
    {"routes.0.headers": {"set": {"X Source": "x"}}},
    {"routes.0.headers": {"set": {"X-Source": " x"}}},
    {"routes.0.instance_id": [{"json": "oicInstanceId"}]},
    {"routes.0.instance_id": [{"xml": 'oic"InstanceId'}]},
    {"routes.0.instance_id": [{"xml": "a", "json": "/a"}]},
)
# By pattern: what fits, and what does not.
SAMPLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$": (("app", "a.b-c_1", "a" * 255), ("", "..", ".a", "a/b", "a b", "a" * 256)),
    "^/": (("/", "/a b"), ("", "a/")),
    r"^(\*|https?://[^/?#@\s]+)$": (("*", "https://a.example:1"), ("a", "https://a/", "https://a b", "**")),
    r"^(/([^~/]|~[01])*)+$": (("/", "/a/b", "/a~0~1", "//", '/"\u20ac'), ("", "a", "/~", "/~2", "/" * 60 + "~")),
    r"^([!-~]([ -~]*[!-~])?)?$": (("", "a", "a b", '"~'), (" a", "a ", "\u20ac", "a\nb", "a\n")),
    r"^(unix:/.+|[^/\s]+:[0-9]{1,5})$": (("unix:/a b", "a:1", "[::1]:65535"), ("unix:", "a", "a:b", "a/b:1", "a:1\n")),
    r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$": (("aB" * 32, ":".join(["09"] * 32)), ("", "a" * 63, "a" * 65, "g" * 64)),
    r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$": (("X-a", "`|~^"), ("", "a:", "a b", "\u00e9", "a" * 65, "(", '"')),
    r"^[0-9]{1,9}(B|KB|MB|GB|KiB|MiB|GiB)$": (("1B", "25MiB"), ("1", "B", "1.5KB", "1kb", "1B ")),
    r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d)$": (("1ms", "1.5h"), ("1", ".5s", "1 s", "-1s", "\u0661s")),
    r"^[1-9][0-9]{0,8}/[hd]$": (("1/h", "999999999/d"), ("0/h", "1/s", "1/m", "/h", "1 /h", "1.5/h", "1/h ")),
    r"^[1-9][0-9]{0,8}/[smhd]$": (("1/s", "10/m", "5/h", "9/d"), ("10", "0/s", "10/S", "-1/s", "01/s", "1/ms")),
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$": (("a", "A.b_c-1"), ("", "-a", "a b", "a" * 64, "\u00e9")),
    r"^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$": (("a", "a.b.", "_a-b"), ("", "-a", "a-", "a:1", "\u00e9")),
    r"^[A-Za-z_][A-Za-z0-9_]*$": (("a", "_A1"), ("", "1a", "a-b")),
    r"^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$": (("http://a", "HTTPS://a?b#c"), ("a", "ftp://a", "http://", "http://a b")),
    r"^[Hh][Tt][Tt][Pp][Ss]?://[!\x22$->@-~]+$": (
        ('http://a/"%|', "HTTPS://a"),
        ("http://a?b", "http://a#b", "http:/a"),
    ),
    r"^[^\s:<>/&'\x22=]+$": (("oicInstanceId", "\u00e9-1"), ("", "a:b", "a b", "a\tb", '"', "'", "<", "a\u00a0b")),
    r"^[^/\x00-\x1f\x7f]+(/[^/\x00-\x1f\x7f]+)*$": (
        ("a", "a/b c", "\u00e9/%2f"),
        ("", "/a", "a/", "a//b", "a\n", "a/\t", "\x7f"),
    ),
    r"^ocid1\.vaultsecret\.[a-z0-9-]+\.[a-z0-9-]*\.[A-Za-z0-9._-]+$": (
        (OCID, "ocid1.vaultsecret.oc1..a"),
        ("ocid1.vault.oc1.phx.a",),
    ),
}


def plain() -> dict[str, Any]:
    return {
        "credentials": {
            "app": {
                "token_url": "https://idcs.example/oauth2/v1/token",
                "client_id": "app",
                "client_secret": {"file": "secret"},
            }
        },
        "routes": [{"name": "orders", "path": "/orders/", "upstream": "https://oic.example/", "credential": "app"}],
    }


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    document = plain()
    for place, value in changes.items():
        *steps, last = (int(step) if step.isdigit() else step for step in place.split("."))
        part: Any = document
        for step in steps:
            part = part[step]
        part[last] = copy.deepcopy(value)
        if value is None and isinstance(last, str):
            del part[last]
    return document


def ajv(rule: dict[str, Any], documents: list[Any]) -> list[list[str]]:
    """What Ajv finds wrong with each."""
    assert AJV.is_dir(), "Ajv is not installed; run `make test`, or `make .venv/ajv/.installed`"
    done = subprocess.run(
        ["node", Path(__file__).parent / "ajv" / "validate.js"],
        env={**os.environ, "NODE_PATH": str(AJV)},
        input=json.dumps({"schema": rule, "documents": documents}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    found: list[list[str]] = json.loads(done.stdout)
    return found


def check_jsonschema(folder: Path, rule: dict[str, Any], documents: list[Any]) -> list[list[str]]:
    """What check-jsonschema finds wrong with each."""
    rules = folder / "schema.json"
    rules.write_text(json.dumps(rule), encoding="utf-8")
    files = [folder / f"{index}.json" for index in range(len(documents))]
    for file, document in zip(files, documents, strict=True):
        file.write_text(json.dumps(document), encoding="utf-8")
    done = subprocess.run(
        [
            str(VENV / "bin" / "check-jsonschema"),
            "--output-format",
            "json",
            "--schemafile",
            str(rules),
            *map(str, files),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)
    assert "parse_errors" not in report or not report["parse_errors"]
    found: dict[str, list[str]] = {str(file): [] for file in files}
    for error in report.get("errors", []):
        found[error["filename"]].append(f"{error['path']} {error['message']}")
    return list(found.values())


def patterns(rule: Any) -> Iterator[str]:
    if isinstance(rule, dict):
        if isinstance(rule.get("pattern"), str):
            yield rule["pattern"]
        yield from rule.get("patternProperties", {})
    for inner in rule.values() if isinstance(rule, dict) else rule if isinstance(rule, list) else ():
        yield from patterns(inner)


def verdicts(folder: Path, rule: dict[str, Any], documents: list[Any]) -> list[tuple[list[str], list[str]]]:
    return list(zip(ajv(rule, documents), check_jsonschema(folder, rule, documents), strict=True))


def test_the_schema_is_a_schema() -> None:
    command = [str(VENV / "bin" / "check-jsonschema"), "--check-metaschema", str(FOLDER / "schema.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


async def test_both_accept_the_files_that_are_shipped_and_printed(tmp_path: Path) -> None:
    shipped = [
        EXAMPLE,
        UNCOVERED,
        *((FOLDER.parent / name).read_text() for name in ("config/demo.yaml", "demo/container.yaml")),
    ]
    async with Sandbox() as sandbox:
        documents = [YamlDocument(text).value for text in (*shipped, inline_config(sandbox))]
    assert verdicts(tmp_path, schema(), documents) == [([], [])] * len(documents)


def test_both_accept_what_check_accepts(tmp_path: Path) -> None:
    documents = [changed(changes) for changes in GOOD]
    for document in documents:
        assert problems(tmp_path, document) == []
    assert verdicts(tmp_path, schema(), documents) == [([], [])] * len(documents)


def test_both_refuse_what_check_refuses(tmp_path: Path) -> None:
    documents = [changed(changes) for changes in BAD]
    for document, changes, found in zip(documents, BAD, verdicts(tmp_path, schema(), documents), strict=True):
        assert problems(tmp_path, document), changes
        assert all(found), changes


def test_each_pattern_means_the_same_in_all_engines(tmp_path: Path) -> None:
    assert set(patterns(schema())) == set(SAMPLES)
    kind = {"$schema": schema()["$schema"], "type": "object"}
    rule = {**kind, "properties": {pattern: {"type": "string", "pattern": pattern} for pattern in SAMPLES}}
    samples = [
        (pattern, text, fits)
        for pattern, rows in SAMPLES.items()
        for fits, row in zip((True, False), rows, strict=True)
        for text in row
    ]
    found = verdicts(tmp_path, rule, [{pattern: text} for pattern, text, _ in samples])
    for (pattern, text, fits), (one, other) in zip(samples, found, strict=True):
        assert (not one, not other) == (fits, fits), (pattern, text)
        by_python = re.search(pattern.removesuffix("$") + (r"\Z" if pattern.endswith("$") else ""), text)
        assert bool(by_python) == fits, (pattern, text)


def problems(folder: Path, document: dict[str, Any]) -> list[str]:
    """What `check` finds wrong, but for secrets."""
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    try:
        load(file, environ={}, check_secrets=False)
    except ConfigProblems as found:
        return str(found).splitlines()
    return []


@pytest.mark.parametrize("word", ["required", "minItems"])
def test_the_keys_of_state_are_required(word: str) -> None:
    state = schema()["$defs"]["StateSettings"]
    assert {"required": state["required"], "minItems": state["properties"]["keys"]["minItems"]}[word] in (["keys"], 1)
