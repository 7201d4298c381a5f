"""What differs between two configurations, and what that requires."""

import hashlib
import itertools
import json
import pickle
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from gateway.config.difference import IDENTITY_KEYS, ConfigDifference, canonical_form, compare, digest_form, fingerprint
from gateway.config.model import Config, CredentialSettings
from gateway.config.resolved import RESTART_KEYS, listeners_of, restart_settings
from gateway.wiring.credentials import credential_key

STATE = "state: {path: tokens.db, keys: [{env: STATE_KEY}]}\n"
PERSON = "    grant: authorization_code\n"


def config(text: str) -> Config:
    return Config.model_validate(yaml.safe_load(text), context={"base": Path("/etc/gw")})


def difference(before: str, after: str) -> ConfigDifference:
    return compare(canonical_form(config(before)), canonical_form(config(after)))


def test_equal_configurations_have_no_difference(valid: str) -> None:
    assert not difference(valid, valid)


@pytest.mark.parametrize(
    "line", ["admin_quit: false", "log: {}", "log: {level: info}", "workers: 1", "limits: {fields: 128}", "allow: []"]
)
def test_a_written_default_is_no_difference(valid: str, line: str) -> None:
    assert not difference(valid, f"{valid}{line}\n")


def test_an_address_and_its_long_form_are_equal(valid: str) -> None:
    bare = valid.replace("listen: 127.0.0.1:8080\n", "")
    assert not difference(bare, f"{bare}listen: [{{address: '127.0.0.1:8080'}}]\n")


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("/orders/", "/other/", ["changed routes.orders.path"]),
        ("name: orders", "name: other", ["added routes.other", "removed routes.orders"]),
        ("    credential: app", "    credential: app\n    timeout: {idle: 5s}", ["added routes.orders.timeout.idle"]),
        ("client_id: an-id", "client_id: other", ["changed credentials.app.client_id"]),
        ("{env: APP_SECRET}", "[{env: APP_SECRET}]", ["changed credentials.app.client_secret"]),
        ("{env: APP_SECRET}", "{env: OTHER}", ["changed credentials.app.client_secret.env"]),
        ("routes:", "callers:\n  erp: {unix_user: erp}\nroutes:", ["added callers.erp"]),
        ("listen: 127.0.0.1:8080", "listen: '[::1]:80'", ["added listen[[::1]:80]", "removed listen[127.0.0.1:8080]"]),
        ("routes:", "allow: [10.0.0.0/8]\nroutes:", ["added allow"]),
    ],
)
def test_each_difference_is_named_by_its_key(valid: str, old: str, new: str, lines: list[str]) -> None:
    assert [*difference(valid, valid.replace(old, new)).lines()] == lines


def test_the_order_of_routes_does_not_matter(valid: str) -> None:
    second = "  - {name: b, path: /b/, upstream: https://b.example/, credential: app}\n"
    head, routes, first = valid.partition("routes:\n")
    assert not difference(head + routes + first + second, head + routes + second + first)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("workers: 2", "workers"),
        ("admin: 127.0.0.1:1", "admin"),
        ("admin_quit: true", "admin_quit"),
        ("limits: {fields: 64}", "limits.fields"),
        ("log: {level: debug}", "log.level"),
    ],
)
def test_a_restart_key_is_named_exactly(valid: str, line: str, key: str) -> None:
    assert difference(valid, f"{valid}{line}\n").restart == (key,)
    assert key.partition(".")[0] in RESTART_KEYS


@pytest.mark.parametrize("line", ["drain: 5s", "pool: {size: 3}", "hosts: [gw.example.com]", "history: {calls: 1}"])
def test_other_keys_need_no_restart(valid: str, line: str) -> None:
    found = difference(valid, f"{valid}{line}\n")
    assert found
    assert found.restart == ()


LISTENERS = [
    "127.0.0.1:1",
    "127.0.0.1:2",
    {"address": "127.0.0.1:1"},
    {"address": "127.0.0.1:1", "tls": {"cert": "a"}},
    {"address": "127.0.0.1:1", "tls": {"cert": "b"}},
    {"address": "127.0.0.1:1", "proxy_protocol": ["10.0.0.0/8"]},
    {"address": "127.0.0.1:1", "proxy_protocol": ["11.0.0.0/8"]},
]


@pytest.mark.parametrize(("one", "other"), [*itertools.product(LISTENERS, LISTENERS)])
def test_listeners_need_a_restart_exactly_if_a_reload_keeps_them(valid: str, one: Any, other: Any) -> None:
    configs = [config(valid).model_copy(update={"listen": config_listen(valid, entry)}) for entry in (one, other)]
    kept = [[restart_settings(listener) for listener in listeners_of(each)] for each in configs]
    assert bool(compare(*map(canonical_form, configs)).restart) == (kept[0] != kept[1])


def config_listen(text: str, entry: Any) -> Any:
    tree = yaml.safe_load(text) | {"listen": [entry]}
    return Config.model_validate(tree, context={"base": Path("/etc/gw")}).listen


def with_person(text: str) -> str:
    return STATE + text.replace("    client_id", f"{PERSON}    client_id")


@pytest.mark.parametrize(
    ("old", "new", "needed"),
    [
        ("client_id: an-id", "client_id: other", ("app",)),
        ("    client_id", "    scope: other\n    client_id", ("app",)),
        ("tokens.db", "other.db", ("app",)),
        ("idcs.example", "other.example", ("app",)),
        ("{env: APP_SECRET}", "{env: OTHER}", ()),
        ("{env: STATE_KEY}", "{env: OTHER}", ()),
        ("    client_id", "    timeout: 3s\n    client_id", ()),
        ("/orders/", "/other/", ()),
    ],
)
def test_a_sign_in_is_needed_if_its_identity_changes(valid: str, old: str, new: str, needed: tuple[str, ...]) -> None:
    person = with_person(valid)
    assert difference(person, person.replace(old, new)).sign_in == needed


def test_a_new_credential_with_a_sign_in_needs_one(valid: str) -> None:
    assert difference(STATE + valid, with_person(valid)).sign_in == ("app",)
    assert difference(with_person(valid), STATE + valid).sign_in == ()


OTHER_VALUES: dict[str, Any] = {"resource": ["r"], "params": {"a": "b"}, "grant": "refresh_token"}


@pytest.mark.parametrize("key", sorted(CredentialSettings.model_fields))
def test_the_identity_keys_are_those_of_the_store(valid: str, key: str) -> None:
    credential = config(with_person(valid)).credentials["app"]
    changed = credential.model_copy(update={key: OTHER_VALUES.get(key, "other")})
    has_other_key = credential_key("app", credential) != credential_key("app", changed)
    assert has_other_key == (key in IDENTITY_KEYS)


@pytest.mark.parametrize("grant", get_args(CredentialSettings.model_fields["grant"].annotation))
def test_files_of_different_owners_never_share_a_token(valid: str, grant: str) -> None:
    credential = config(valid).credentials["app"].model_copy(update={"grant": grant})
    owned = [credential, *(credential.with_file_scope(scope) for scope in ("owner a", "owner b", "file a.yaml"))]
    assert len({credential_key("app", one) for one in owned}) == 4
    assert credential_key("app", pickle.loads(pickle.dumps(owned[1]))) == credential_key("app", owned[1])
    assert credential_key("app", owned[1].model_copy(update={"timeout": 3.0})) == credential_key("app", owned[1])
    assert owned[1] != owned[2]


def test_the_key_of_a_credential_of_the_main_file_stays(valid: str) -> None:
    former: list[Any] = ["https://idcs.example/oauth2/v1/token", "an-id", "client_credentials", None, [], None, [], ""]
    expected = hashlib.sha256(json.dumps(former).encode()).hexdigest()
    assert credential_key("app", config(valid).credentials["app"]) == expected


def test_a_sign_in_is_needed_if_another_owner_has_the_credential(valid: str) -> None:
    before = config(with_person(valid))
    moved = {"app": before.credentials["app"].with_file_scope("owner a")}
    after = before.model_copy(update={"credentials": moved})
    found = compare(*map(canonical_form, (before, after)))
    assert (found.added, found.sign_in) == (("credentials.app.include",), ("app",))
    found = compare(*(digest_form(canonical_form(one)) for one in (after, before)))
    assert (found.removed, found.sign_in) == (("credentials.app.include",), ("app",))


def test_digests_show_changes_but_no_values(valid: str) -> None:
    forms = [canonical_form(config(text)) for text in (valid, valid.replace("an-id", "other"))]
    digests = [*map(digest_form, forms)]
    assert compare(digests[0], digests[0]) == ConfigDifference()
    assert compare(*digests).changed == ("credentials.app.client_id",)
    assert "an-id" not in str(digests[0])
    assert "idcs.example" not in str(digests[0])


HIDDEN_KEYS = ("headers: {set: {X-Key: VALUE}}", "query: {set: {key: VALUE}}", "headers: {set: {remove: VALUE}}")


@pytest.mark.parametrize("line", HIDDEN_KEYS)
def test_digests_do_not_depend_on_values_that_may_be_secret(valid: str, line: str) -> None:
    place = "    credential: app"
    texts = [valid.replace(place, f"{place}\n    {line.replace('VALUE', value)}") for value in ("ab", "ba")]
    forms = [canonical_form(config(text)) for text in texts]
    assert compare(*forms)
    assert digest_form(forms[0]) == digest_form(forms[1])
    assert fingerprint(forms[0]) == fingerprint(forms[1])
    assert compare(*map(digest_form, (canonical_form(config(valid)), forms[0])))  # the names are compared


def test_digests_do_not_depend_on_parameters_of_a_credential(valid: str) -> None:
    texts = [valid.replace("client_id: an-id", f"client_id: an-id\n    params: {{pin: '{pin}'}}") for pin in (12, 34)]
    forms = [canonical_form(config(text)) for text in texts]
    assert digest_form(forms[0]) == digest_form(forms[1])
    assert fingerprint(forms[0]) == fingerprint(forms[1])


def test_an_entry_may_have_the_name_of_a_hidden_key(valid: str) -> None:
    text = valid.replace("app:", "headers:").replace("credential: app", "credential: headers")
    forms = [canonical_form(config(one)) for one in (text, text.replace("an-id", "other"))]
    assert compare(*map(digest_form, forms)).changed == ("credentials.headers.client_id",)


def test_a_change_with_the_same_digest_has_another_fingerprint(valid: str) -> None:
    names = [f"id-{number}" for number in range(70_000)]  # more than there are digests
    names.sort(key=lambda name: str(digest_form({"a": name})["a"]))
    pairs = itertools.pairwise(names)
    pair = next(pair for pair in pairs if len({str(digest_form({"a": name})) for name in pair}) == 1)
    forms = [canonical_form(config(valid.replace("an-id", name))) for name in pair]
    assert not compare(*map(digest_form, forms))
    assert fingerprint(forms[0]) != fingerprint(forms[1])


def test_paths_below_the_folder_are_compared_as_relative_ones(valid: str) -> None:
    text = valid.replace("{env: APP_SECRET}", "[{file: a}, {file: /run/b}]")
    tree = canonical_form(config(text), "/etc/gw")
    assert tree["credentials"]["app"]["client_secret"] == [{"file": "a"}, {"file": "/run/b"}]
