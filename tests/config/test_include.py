# ruff: noqa: E501, ISC004 - whole messages are compared
"""Included files: what they may hold and use, and where each problem in them is reported."""

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config.difference import canonical_form
from gateway.config.include_model import INCLUDED_KEYS
from gateway.config.issue import FILE_KEYS, SecretProblem
from gateway.config.load import ConfigFile, ConfigProblems, Loaded, load
from gateway.config.model import CredentialSettings, IncludedSettings
from gateway.config.references import check_references
from gateway.config.resolved import client_secrets, resolve
from gateway.config.schema import properties, schema
from gateway.config.secrets import SecretReader
from gateway.config.strict_model import ClientTlsSettings, SecretRef, StrictModel
from gateway.config.values import FilePath
from gateway.observe.metrics import Metrics
from gateway.system.confined_files import LeavesFolder
from gateway.system.confined_path import ConfinedPath
from gateway.system.files import read_file
from gateway.system.staged_file import StagedFile
from gateway.wiring.components import Components
from gateway.wiring.outbound import client_certificate_context
from tests.config.conftest import ENVIRON
from tests.fakes.keys import pair

MAIN = """\
include:
  - {files: 'teams/a/*.yaml', path: /a/, owner: team-a, lend: [app]}
  - {files: teams/b/one.yaml, path: /b/, owner: team-b}
"""
TEAM = """\
credentials:
  NAME-app: {token_url: https://idcs.example/oauth2/v1/token, client_id: x, client_secret: {file: secret}, scope: s}
routes:
  - {name: NAME-one, path: /NAME/one/, upstream: https://acme.example/ic/, credential: NAME-app}
"""

LoadTeams = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path, valid: str) -> Path:
    """A main file with two teams, all of them right."""
    (tmp_path / "gateway.yaml").write_text(MAIN + valid, encoding="utf-8")
    for name in ("a", "b"):
        team = tmp_path / "teams" / name
        team.mkdir(parents=True)
        (team / "secret").write_text("hunter2", encoding="utf-8")
        (team / "secret").chmod(0o600)
        (team / "one.yaml").write_text(TEAM.replace("NAME", name), encoding="utf-8")
    return tmp_path


def loaded(folder: Path) -> Loaded:
    return load(folder / "gateway.yaml", environ=ENVIRON)


def problems(folder: Path) -> list[str]:
    """Return every problem and warning, with paths relative to the folder."""
    try:
        lines = [str(problem) for problem in loaded(folder).warnings]
    except ConfigProblems as refused:
        lines = str(refused).splitlines()
    return [line.replace(f"{folder}/", "") for line in lines]


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_routes_and_credentials_of_all_files_are_joined(folder: Path) -> None:
    found = loaded(folder)
    assert found.warnings == ()
    assert [route.name for route in found.config.routes] == ["orders", "a-one", "b-one"]
    assert set(found.config.credentials) == {"app", "a-app", "b-app"}
    secret = found.config.credentials["a-app"].client_secret
    assert secret == SecretRef(file=str(folder / "teams/a/secret"))
    assert [file.path for file in found.files] == [
        str(folder / name) for name in ("gateway.yaml", "teams/a/one.yaml", "teams/b/one.yaml")
    ]
    assert isinstance(found.files[0], ConfigFile)


def test_the_scope_of_each_included_credential_is_known(folder: Path, valid: str) -> None:
    assert loaded(folder).credential_scopes == {"a-app": "owner team-a", "b-app": "owner team-b"}
    (folder / "gateway.yaml").write_text(f"include: [teams/*/*.yaml]\n{valid}", encoding="utf-8")
    assert loaded(folder).credential_scopes == {f"{name}-app": f"file teams/{name}/one.yaml" for name in "ab"}


def test_credentials_have_the_scope_of_their_file(folder: Path) -> None:
    change(folder / "gateway.yaml", ", owner: team-b", "")
    scopes = {name: one.file_scope for name, one in loaded(folder).config.credentials.items()}
    assert scopes == {"app": "", "a-app": "owner team-a", "b-app": "file teams/b/one.yaml"}


def test_routes_have_the_scope_of_their_file(folder: Path) -> None:
    change(folder / "gateway.yaml", ", owner: team-b", "")
    config = loaded(folder).config
    expected = {"orders": "", "a-one": "owner team-a", "b-one": "file teams/b/one.yaml"}
    assert {route.name: route.file_scope for route in config.routes} == expected
    assert {route.name: route.file_scope for route in resolve(config)} == expected
    assert [route.get("include", "") for route in canonical_form(config)["routes"].values()] == [*expected.values()]


def test_the_short_form_includes_files_without_limits_of_path(folder: Path, valid: str) -> None:
    (folder / "gateway.yaml").write_text(f"include: [teams/*/*.yaml]\n{valid}", encoding="utf-8")
    assert [route.path for route in loaded(folder).config.routes] == ["/orders/", "/a/one/", "/b/one/"]


def test_the_main_file_needs_no_routes_of_its_own(folder: Path) -> None:
    (folder / "gateway.yaml").write_text("include: [teams/*/*.yaml]\n", encoding="utf-8")
    assert len(loaded(folder).config.routes) == 2
    (folder / "gateway.yaml").write_text("include: [none/*.yaml]\n", encoding="utf-8")
    assert problems(folder) == [
        "gateway.yaml:1: include[0]: warning: matches no file; correct the path",
        "gateway.yaml:1: credentials: is missing; add it",
        "gateway.yaml:1: routes: is missing; add it",
    ]


def test_a_problem_has_file_line_and_owner_of_its_file(folder: Path) -> None:
    change(folder / "teams/a/one.yaml", "upstream: https", "upstraem: https")
    change(folder / "teams/b/one.yaml", "client_id: x", "client_id: x, timeout: 3")
    assert problems(folder) == [
        "teams/a/one.yaml:4: routes[0].upstream: is missing; add it (owner: team-a)",
        "teams/a/one.yaml:4: routes[0].upstraem: is not a known key; did you mean `upstream`? (owner: team-a)",
        "teams/b/one.yaml:2: credentials.b-app.timeout: needs a number with a unit; write it like 330s, 250ms or 5m"
        " (owner: team-b)",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("routes:\n\t- x", "teams/b/one.yaml:2: is indented with a tab; indent with spaces"),
        ("", "teams/b/one.yaml:1: is empty; write `credentials`, `callers` or `routes` into it, or remove it"),
        (
            "listen: 127.0.0.1:1",
            "teams/b/one.yaml:1: listen: is a key of the main file only; write it there, or remove it",
        ),
        ("include: [x]", "teams/b/one.yaml:1: include: is a key of the main file only; write it there, or remove it"),
        ("rutes: []", "teams/b/one.yaml:1: rutes: is not a known key of an included file; did you mean `routes`?"),
        ("routes:", "teams/b/one.yaml:1: routes: is empty; write a value, or remove the key"),
        ("routes: {}", "teams/b/one.yaml:1: routes: must be a list; write it like [a, b], or one `- a` per line"),
        ("callers: 3", "teams/b/one.yaml:1: callers: must be a mapping; write `key: value` lines under it"),
    ],
)
def test_a_broken_file_is_refused_and_names_its_owner(folder: Path, text: str, line: str) -> None:
    (folder / "teams/b/one.yaml").write_text(text, encoding="utf-8")
    assert problems(folder) == [f"{line} (owner: team-b)"]


@pytest.mark.parametrize(
    ("secret", "what"),
    [
        ("{file: ../b/secret}", "credentials.a-app.client_secret.file: leaves the folder of this included file"),
        ("{file: /etc/hostname}", "credentials.a-app.client_secret.file: leaves the folder of this included file"),
        ("[{file: secret}, {file: link}]", "credentials.a-app.client_secret[1].file: leaves the folder"),
        ("{env: APP_SECRET}", "credentials.a-app.client_secret.env: is not a file in the folder"),
        ("{credential: app}", "credentials.a-app.client_secret.credential: is not a file in the folder"),
        ("{oci_vault: ocid1.vaultsecret.oc1..a}", "credentials.a-app.client_secret.oci_vault: is not a file in the"),
        ("{vault: {path: a, field: b}}", "credentials.a-app.client_secret.vault: is not a file in the folder"),
        ("{file: secret}, tls: {ca: ../../ca.pem}", "credentials.a-app.tls.ca: leaves the folder"),
    ],
)
def test_references_do_not_leave_the_folder(folder: Path, secret: str, what: str) -> None:
    (folder / "teams/a/link").symlink_to(folder / "teams/b/secret")
    change(folder / "teams/a/one.yaml", "{file: secret}", secret)
    assert f"teams/a/one.yaml:2: {what}" in "\n".join(problems(folder))


def test_links_within_the_folder_are_followed(folder: Path) -> None:
    """As Kubernetes mounts a ConfigMap or a Secret."""
    team = folder / "teams/a"
    (team / "..2026").mkdir()
    for name in ("secret", "one.yaml"):
        (team / name).rename(team / "..2026" / name)
        (team / name).symlink_to(f"..data/{name}")
    (team / "..data").symlink_to("..2026")
    assert problems(folder) == []


def test_names_that_only_look_like_references_stay(folder: Path) -> None:
    change(folder / "teams/a/one.yaml", "credential: a-app}", "credential: a-app, headers: {set: {file: x, key: y}}}")
    change(folder / "teams/a/one.yaml", "scope: s", "scope: s, params: {file: x, ca: /y}")
    config = loaded(folder).config
    headers = config.routes[1].headers
    assert headers is not None
    assert headers.set == {"file": "x", "key": "y"}
    assert config.credentials["a-app"].params == {"file": "x", "ca": "/y"}


def models(part: Any, found: set[type[StrictModel]]) -> set[type[StrictModel]]:
    """Return all models that an annotation leads to."""
    if isinstance(part, type) and issubclass(part, StrictModel) and part not in found:
        found.add(part)
        for field in part.model_fields.values():
            models(field.annotation, found)
    for inner in getattr(part, "__args__", ()):
        models(inner, found)
    return found


def test_every_path_of_an_included_file_is_confined() -> None:
    check = FilePath.__metadata__[-1]  # type: ignore[attr-defined]
    paths = {
        name
        for part in models(IncludedSettings, set())
        for name, field in part.model_fields.items()
        if check in field.metadata
        or check in getattr(str(field.annotation), "__metadata__", ())
        or repr(check) in repr(field.annotation)
    }
    assert {"file", "cert", "key", "ca"} <= paths <= FILE_KEYS


KEYS = sorted({name for part in models(IncludedSettings, set()) for name in part.model_fields})


@pytest.mark.parametrize("name", KEYS)
def test_a_credential_or_caller_named_like_a_key_is_confined(folder: Path, name: str) -> None:
    (folder / "teams/a/one.yaml").write_text(
        "credentials:\n"
        f"  {name}: {{token_url: 'https://i.example/token', client_id: x, client_secret: [{{env: APP_SECRET}}, "
        "{file: /etc/hostname}], tls: {ca: ../ca.pem}}\n"
        f"callers:\n  {name}: {{basic: {{username: x, password: {{env: APP_SECRET}}}}}}\n"
        f"routes: [{{name: a, path: /a/, upstream: 'https://acme.example/a/', credential: {name}}}]\n",
        encoding="utf-8",
    )
    references = ("client_secret[0].env: is not a file", "client_secret[1].file: leaves the", "tls.ca: leaves the")
    lines = [line for line in problems(folder) if "the folder of this included file" in line]
    expected = [f"teams/a/one.yaml:2: credentials.{name}.{reference}" for reference in references]
    expected.append(f"teams/a/one.yaml:4: callers.{name}.basic.password.env: is not a file")
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected


@pytest.mark.parametrize("name", KEYS)
def test_a_credential_named_like_a_key_has_its_secret_read(folder: Path, name: str) -> None:
    change(folder / "gateway.yaml", "  app:", f"  {name}:")
    change(folder / "gateway.yaml", "credential: app", f"credential: {name}")
    change(folder / "gateway.yaml", "lend: [app]", f"lend: [{name}]")
    assert problems(folder) == []
    change(folder / "gateway.yaml", "env: APP_SECRET", "env: MISSING")
    [line] = problems(folder)
    assert f"credentials.{name}.client_secret.env: the environment variable `MISSING` is not set" in line


def test_a_lent_credential_may_be_used(folder: Path) -> None:
    change(
        folder / "teams/a/one.yaml",
        "credential: a-app}",
        "credential: app}\n  - {name: a-two, path: /a/two/, upstream: https://acme.example/ic/, credential: a-app}",
    )
    assert problems(folder) == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "app",
            "teams/b/one.yaml:4: routes[0].credential: names the credential `app` of gateway.yaml, which this file may "
            "not use; use a credential of this file, or add `lend: [app]` to the entry of this file under `include` "
            "(owner: team-b)",
        ),
        (
            "a-app",
            "teams/b/one.yaml:4: routes[0].credential: names the credential `a-app` of teams/a/one.yaml, which this "
            "file may not use; use a credential of this file (owner: team-b)",
        ),
    ],
)
def test_a_credential_of_another_file_is_refused(folder: Path, name: str, line: str) -> None:
    change(folder / "teams/b/one.yaml", "credential: b-app", f"credential: {name}")
    assert line in problems(folder)


def test_the_main_file_uses_its_own_credentials_only(folder: Path) -> None:
    change(folder / "gateway.yaml", "credential: app", "credential: a-app")
    assert any("names the credential `a-app` of teams/a/one.yaml" in line for line in problems(folder))
    change(folder / "gateway.yaml", "credential: a-app", "credential: app\ndefaults: {credential: b-app}")
    assert any(line.startswith("gateway.yaml:15: defaults.credential: names") for line in problems(folder))


def value_at(path: str, leaf: object) -> dict[str, Any]:
    """The keys of a dotted path of the schema, such as `routes[].timeouts.connect`, around a value."""
    value = leaf
    for word in reversed(path.split(".")):
        name = word.removesuffix("[]")
        value = {"an-app" if name == "NAME" else name: [value] if word.endswith("[]") else value}
    assert isinstance(value, dict)
    return value


def complaints_about(text: str, file: Path, folder: Path, key: str) -> set[str]:
    """The problems of the configuration, with this text in a file, that are at a key or below it."""
    file.write_text(text, encoding="utf-8")
    place = str(file.parent.relative_to(folder))
    lines = [line.partition(" (owner: ")[0].replace(f"{place}/", "") for line in problems(folder)]
    return {
        line.partition(": ")[2].partition(";")[0] for line in lines if re.search(rf": {re.escape(key)}[:.\[]", line)
    }


def test_the_schema_offers_the_keys_that_the_rules_accept(folder: Path) -> None:
    """A key is refused if it has a problem in an included file that it does not have in the main file."""
    (folder / "gateway.yaml").write_text("include: [teams/b/one.yaml]\n", encoding="utf-8")
    (folder / "secret").write_text("hunter2", encoding="utf-8")
    included = schema(IncludedSettings)
    offered = {path for path, _ in properties(included, included)}
    refused = set()
    whole = schema()
    paths = [path for path, _ in properties(whole, whole) if re.match(rf"({'|'.join(INCLUDED_KEYS)})[.\[]", path)]
    for path in paths:
        text = json.dumps(value_at(path, "secret" if path.rpartition(".")[2] in FILE_KEYS else "x"))
        key = path.replace("NAME", "an-app").replace("[]", "[0]")
        main = (folder / "gateway.yaml").read_text(encoding="utf-8")
        in_main = complaints_about(text, folder / "gateway.yaml", folder, key)
        (folder / "gateway.yaml").write_text(main, encoding="utf-8")
        if complaints_about(text, folder / "teams/b/one.yaml", folder, key) - in_main:
            refused.add(path)
    refused |= {path for path in paths if any(path.startswith(f"{other}.") for other in refused)}
    assert {*paths, *INCLUDED_KEYS} - refused == offered
    assert "credentials.NAME.budget" in refused


def test_an_included_file_limits_no_token_requests(folder: Path) -> None:
    change(folder / "teams/a/one.yaml", "client_id: x", "client_id: x, budget: {per_minute: 1}")
    change(folder / "gateway.yaml", "client_id: an-id", "client_id: an-id\n    budget: {per_minute: 90}")
    assert problems(folder) == [
        "teams/a/one.yaml:2: credentials.a-app.budget: limits the token requests of other files too; "
        "set it at a credential of the main file (owner: team-a)"
    ]


def test_an_included_file_takes_no_places_of_other_callers(folder: Path) -> None:
    team = folder / "teams/a/one.yaml"
    team.write_text(f"callers: {{job: {{networks: [10.0.0.0/8], share: 9}}}}\n{TEAM.replace('NAME', 'a')}", "utf-8")
    change(team, "credential: a-app", "credential: a-app, callers: [job]")
    assert problems(folder) == [
        "teams/a/one.yaml:1: callers.job.share: takes places from callers of other files; set it at a "
        "caller of the main file (owner: team-a)"
    ]
    change(team, ", share: 9", "")
    config = loaded(folder).config
    assert config.callers["job"].file_scope == "owner team-a"
    assert canonical_form(config)["callers"]["job"]["include"] == "owner team-a"


def test_a_default_credential_is_not_lent_by_itself(folder: Path) -> None:
    change(folder / "gateway.yaml", "listen:", "defaults: {credential: app}\nlisten:")
    change(folder / "teams/a/one.yaml", ", credential: a-app", "")
    change(folder / "teams/b/one.yaml", ", credential: b-app", "")
    [line] = [line for line in problems(folder) if "warning" not in line]
    assert line.startswith("teams/b/one.yaml:4: routes[0]: has no credential, and `defaults.credential` is not lent")


def test_lent_credentials_must_exist(folder: Path) -> None:
    change(folder / "gateway.yaml", "lend: [app]", "lend: [apq, a-app]")
    assert problems(folder) == [
        "gateway.yaml:2: include[0].lend[0]: names the credential `apq` that this file does not have; did you mean `app`?",
        "gateway.yaml:2: include[0].lend[1]: names the credential `a-app` that this file does not have; did you mean `app`?",
    ]


CALLER = "callers:\n  {name}: {{api_key: {{file: key}}}}\n"


def test_callers_of_the_main_file_are_for_all_routes(folder: Path) -> None:
    (folder / "key").write_text("0123456789abcdef0123456789abcdef01234567", encoding="utf-8")
    (folder / "key").chmod(0o600)
    change(folder / "gateway.yaml", "listen:", CALLER.format(name="erp") + "listen:")
    change(folder / "teams/a/one.yaml", "credential: a-app", "credential: a-app, callers: [erp]")
    assert problems(folder) == []


def test_callers_of_another_team_are_refused(folder: Path) -> None:
    for name in ("a", "b"):
        team = folder / "teams" / name
        (team / "key").write_text(f"{name}123456789abcdef0123456789abcdef01234567", encoding="utf-8")
        (team / "key").chmod(0o600)
        change(team / "one.yaml", "routes:", CALLER.format(name=f"{name}-job") + "routes:")
        change(team / "one.yaml", f"credential: {name}-app", f"credential: {name}-app, callers: [a-job]")
    lines = [line for line in problems(folder) if "warning" not in line]
    assert lines == [
        "teams/b/one.yaml:6: routes[0].callers[0]: names the caller `a-job` of teams/a/one.yaml, which this file may "
        "not use; use a caller of this file or of the main file (owner: team-b)"
    ]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/one/", "does not lie under `/b/`, where the routes of this file must lie; write it like /b/orders/"),
        ("/bb/one/", "does not lie under `/b/`, where the routes of this file must lie; write it like /b/orders/"),
        ("/a/one2/", "does not lie under `/b/`, where the routes of this file must lie; write it like /b/orders/"),
        ("/", "does not lie under `/b/`, where the routes of this file must lie; write it like /b/orders/"),
    ],
)
def test_routes_lie_under_the_path_of_their_entry(folder: Path, path: str, what: str) -> None:
    change(folder / "teams/b/one.yaml", "/b/one/", path)
    assert problems(folder) == [f"teams/b/one.yaml:4: routes[0].path: {what} (owner: team-b)"]


def test_a_path_is_reserved_for_the_files_of_its_entry(folder: Path) -> None:
    change(folder / "gateway.yaml", "teams/b/one.yaml, path: /b/, owner: team-b", "teams/b/one.yaml")
    change(folder / "teams/b/one.yaml", "/b/one/", "/a/two/")
    assert problems(folder) == [
        "teams/b/one.yaml:4: routes[0].path: lies under `/a/`, which `include` reserves for the files of team-a; "
        "change the path"
    ]
    change(folder / "gateway.yaml", "{files: teams/b/one.yaml}", "{files: teams/b/one.yaml, path: /a/two/}")
    assert problems(folder) == []


def test_equal_names_are_reported_at_both_places(folder: Path) -> None:
    change(folder / "teams/b/one.yaml", "b-app", "a-app")
    change(folder / "teams/b/one.yaml", "name: b-one", "name: orders")
    assert problems(folder) == [
        "gateway.yaml:11: routes[0].name: is the same as that of teams/b/one.yaml:4; rename one route",
        "teams/a/one.yaml:2: credentials.a-app: `a-app` is also the name of one in teams/b/one.yaml:2; rename one of them"
        " (owner: team-a)",
        "teams/b/one.yaml:2: credentials.a-app: `a-app` is also the name of one in teams/a/one.yaml:2; rename one of them"
        " (owner: team-b)",
        "teams/b/one.yaml:4: routes[0].name: is the same as that of gateway.yaml:11; rename one route (owner: team-b)",
        "teams/b/one.yaml:4: routes[0].credential: names the credential `a-app` of teams/a/one.yaml, which this file may"
        " not use; use a credential of this file (owner: team-b)",
    ]


def test_equal_paths_are_reported_at_both_places(folder: Path) -> None:
    change(folder / "gateway.yaml", "path: /orders/", "path: /a/one")
    lines = problems(folder)
    assert len(lines) == 2
    assert lines[0].startswith("gateway.yaml:12: routes[0].path: is the same as that of teams/a/one.yaml:4; merge")
    assert lines[1].startswith("teams/a/one.yaml:4: routes[0].path: is the same as that of gateway.yaml:12; merge")


def test_files_of_one_owner_share_their_credentials(folder: Path) -> None:
    (folder / "teams/a/two.yaml").write_text(
        "routes: [{name: a-two, path: /a/two/, upstream: https://acme.example/ic/, credential: a-app}]\n",
        encoding="utf-8",
    )
    assert problems(folder) == []
    change(folder / "gateway.yaml", ", owner: team-a", "")
    assert [line.partition(": names")[0] for line in problems(folder)] == ["teams/a/two.yaml:1: routes[0].credential"]


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        ("gateway.yaml", "gateway.yaml:4: include[2]: includes `gateway.yaml`, which is this file itself"),
        ("teams/*/one.yaml", "gateway.yaml:4: include[2]: includes `teams/a/one.yaml`, which is included already"),
        ("teams/c.yaml", "gateway.yaml:4: include[2]: does not exist; correct the path"),
        ("teams/a", "teams/a: is not a regular file; name a regular file, not a pipe or a device"),
        ("''", "gateway.yaml:4: include[2]: is empty; write a value"),
        ("3", "gateway.yaml:4: include[2]: must be a string; quote it"),
        ("{path: /c/}", "gateway.yaml:4: include[2].files: is missing; add it"),
    ],
)
def test_wrong_entries_are_reported(folder: Path, entry: str, line: str) -> None:
    change(folder / "gateway.yaml", "owner: team-b}\n", f"owner: team-b}}\n  - {entry}\n")
    assert any(one.startswith(line) for one in problems(folder)), problems(folder)


def test_paths_are_shown_as_the_main_file_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "teams")
    (folder / "teams/b/one.yaml").write_text("x: 1", encoding="utf-8")
    with pytest.raises(ConfigProblems) as refused:
        load("../gateway.yaml", environ=ENVIRON)
    assert refused.value.problems[0].location == f"..{os.sep}teams/b/one.yaml:1: x"


# Files that change after the configuration was read ------------------------------------------------------------------

EVERY_FILE = """\
credentials:
  a-app:
    token_url: https://idcs.example/oauth2/v1/token
    client_id: x
    client_secret: [{file: secret}, {file: next}]
    scope: s
    tls: {ca: ca.pem, cert: cert.pem, key: key.pem, key_password: {file: password}}
    proxy: {url: "https://proxy.example:3128", username: u, password: {file: proxy}, tls: {ca: proxy.pem}}
  a-job:
    token_url: https://idcs.example/oauth2/v1/token
    client_id: y
    grant: jwt_bearer
    client_auth: private_key_jwt
    subject: u
    scope: s
    signing: {private_key: {file: signing.pem}, cert: signing.crt, audience: x, key_password: {file: password}}
callers:
  a-caller: {api_key: [{file: api}], basic: {username: x, password: {file: basic}}}
routes:
  - {name: a-one, path: /a/one/, upstream: "https://acme.example/ic/", credential: a-app, tls: {ca: ca.pem}, proxy: {url: "https://p.example", tls: {ca: proxy.pem}}}
"""


def paths_in(value: Any) -> list[str]:
    """Return every value of a key of `FILE_KEYS` in settings."""
    if isinstance(value, dict):
        return [path for inner in value.values() for path in paths_in(inner)]
    if isinstance(value, list):
        return [path for inner in value for path in paths_in(inner)]
    if not isinstance(value, StrictModel):
        return []
    own = [inner for key, inner in value if key in FILE_KEYS and isinstance(inner, str)]
    return own + [path for _, inner in value for path in paths_in(inner)]


def test_each_file_of_a_team_is_read_in_its_folder_only(folder: Path) -> None:
    (folder / "teams/a/one.yaml").write_text(EVERY_FILE, encoding="utf-8")
    config = load(folder / "gateway.yaml", environ=ENVIRON, check_secrets=False).config
    teams = [config.credentials["a-app"], config.credentials["a-job"], config.callers["a-caller"], config.routes[1]]
    for copy in (teams, pickle.loads(pickle.dumps(teams)), [one.model_copy(deep=True) for one in teams]):
        paths = paths_in(copy)
        assert len(paths) == 15
        for path in paths:
            assert isinstance(path, ConfinedPath)
            Path(path).unlink(missing_ok=True)
            Path(path).symlink_to(folder / "teams/b/secret")
            with pytest.raises(LeavesFolder):
                read_file(path, 1)
    assert not any(isinstance(path, ConfinedPath) for path in paths_in(config.credentials["app"]))


def outward(folder: Path, name: str) -> None:
    """Replace a file of team a by a link to the secret of team b."""
    (folder / "teams/a" / name).unlink()
    (folder / "teams/a" / name).symlink_to("../b/secret")


def team_with_keys(folder: Path) -> CredentialSettings:
    """Return a credential of a team with a certificate and a signing key, whose files can be used."""
    key = pair()
    for name, text in {
        "ca.pem": key.certificate,
        "cert.pem": key.certificate,
        "key.pem": key.locked("locked"),
        "password": "locked",
    }.items():
        (folder / "teams/a" / name).write_text(text, encoding="utf-8")
        (folder / "teams/a" / name).chmod(0o600)
    tls = "tls: {ca: ca.pem, cert: cert.pem, key: key.pem, key_password: {file: password}}"
    signing = "signing: {private_key: {file: key.pem}, cert: cert.pem, audience: x, key_password: {file: password}}"
    more = f"{tls}, {signing}, grant: jwt_bearer, subject: u, client_auth: private_key_jwt"
    change(folder / "teams/a/one.yaml", "client_secret: {file: secret}", more)
    assert problems(folder) == []
    return loaded(folder).config.credentials["a-app"]


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem", "password"])
def test_a_changed_file_of_a_client_certificate_is_refused(folder: Path, name: str) -> None:
    tls, secrets = team_with_keys(folder).tls, SecretReader(ENVIRON)
    assert tls is not None
    assert tls.key_password is not None
    client_certificate_context(tls, secrets.reader(tls.key_password))
    outward(folder, name)
    with pytest.raises((LeavesFolder, SecretProblem), match=f"a/{name}` leads out of the folder"):
        client_certificate_context(tls, secrets.reader(tls.key_password))
    assert f"{name}` leads out" in "".join(map(str, check_references({"tls": tls_tree(tls)}, base=folder, environ={})))


def tls_tree(tls: ClientTlsSettings) -> dict[str, Any]:
    """Return the plain value of settings, with its confined paths."""
    return {key: {"file": value.file} if isinstance(value, SecretRef) else value for key, value in tls}


@pytest.mark.parametrize("name", ["cert.pem", "key.pem", "password"])
async def test_a_changed_file_of_a_signing_key_is_refused(folder: Path, name: str) -> None:
    credential = team_with_keys(folder)
    components = Components(Metrics("test"), environ=ENVIRON)
    requests = components.credential_builder.token_requests(credential)
    assert "assertion=" in requests.build().body.decode()
    outward(folder, name)
    with pytest.raises((LeavesFolder, SecretProblem), match=f"a/{name}` leads out of the folder"):
        requests.build()
    await components.close()


def test_a_changed_secret_of_a_team_is_not_read(folder: Path) -> None:
    credential = loaded(folder).config.credentials["a-app"]
    secrets = SecretReader(ENVIRON)
    [ref] = client_secrets(credential)
    former = secrets.fingerprint(credential)
    assert secrets.changed_at([[ref]])
    outward(folder, "secret")
    remedy = f"replace the link by a file, or by a link to a file below `{folder}/teams/a`"
    with pytest.raises(SecretProblem, match=rf"the secret file `{folder}/teams/a/secret` leads out.*; {remedy}"):
        secrets.read(ref)
    assert secrets.fingerprint(credential) != former
    assert secrets.changed_at([[ref]]) is None
    with pytest.raises(LeavesFolder):
        StagedFile(ref.file or "")


def test_an_included_file_is_read_in_its_folder_only(folder: Path) -> None:
    (folder / "teams/a/one.yaml").rename(folder / "one.yaml")
    (folder / "teams/a/one.yaml").symlink_to(folder / "one.yaml")
    assert problems(folder)[0] == (
        "teams/a/one.yaml: is behind a link that leaves its folder; replace the link by a file, or by a link to a file "
        "below `teams/a` (owner: team-a)"
    )


def test_a_wildcard_matches_no_folder_elsewhere(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Who writes to a folder above the included files could have made the link."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (folder / "teams/a").rename(elsewhere / "a")
    (folder / "teams/a").symlink_to(elsewhere / "a")
    assert problems(folder) == []  # the operator has named the folder itself
    change(folder / "gateway.yaml", "teams/a/*.yaml", "teams/*/one.yaml")
    change(folder / "gateway.yaml", "  - {files: teams/b/one.yaml, path: /b/, owner: team-b}\n", "")
    change(folder / "gateway.yaml", "path: /a/, ", "")
    assert [line for line in problems(folder) if "is behind a link that leaves its folder" in line]
