"""`state` in the file: accepted values, and the problems of others."""

import base64
from pathlib import Path
from typing import Any

import pytest

from gateway.config.load import ConfigProblems, load

KEY = bytes(range(32))
TEXTS = {"STATE_KEY": base64.b64encode(KEY).decode(), "HEX": KEY.hex(), "SHORT": "c2hvcnQ=", "PASSWORD": "hunter2"}
KEYS = "keys: [{env: STATE_KEY}]"


def loaded(folder: Path, state: str) -> Any:
    file = folder / "gateway.yaml"
    file.write_text(
        f"state: {state}\n"
        "credentials: {app: {token_url: https://id.example.com/token, client_id: a, client_secret: {env: HEX}}}\n"
        "routes: [{name: orders, path: /, upstream: https://oic.example.com, credential: app}]\n",
        encoding="utf-8",
    )
    return load(file, environ=TEXTS).config.state


def problems_of(folder: Path, state: str) -> list[str]:
    with pytest.raises(ConfigProblems) as caught:
        loaded(folder, state)
    return [str(problem).partition("gateway.yaml:1: ")[2] for problem in caught.value.problems]


def test_a_file_counts_from_the_folder_of_the_configuration(tmp_path: Path) -> None:
    state = loaded(tmp_path, "{path: state.db, keys: [{env: STATE_KEY}, {env: HEX}], timeout: 200ms}")
    assert (state.path, state.timeout, len(state.keys)) == (str(tmp_path / "state.db"), 0.2, 2)


def test_a_redis_has_all_that_it_may_need(tmp_path: Path) -> None:
    password = "password: {env: PASSWORD}"
    sentinel = f"sentinel: {{{password}}}"
    state = loaded(
        tmp_path, f"{{redis: {{url: 'redis+sentinel://a,b/main', username: me, {password}, {sentinel}}}, {KEYS}}}"
    )
    assert (state.redis.username, state.redis.prefix, state.timeout) == ("me", "oic-gateway", 0.5)


MAKE = "`openssl rand -base64 32"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("{path: s.db}", f"state: has no encryption `keys`; create one with {MAKE} >FILE`"),
        ("{redis: {url: 'redis://a'}}", "state: has no encryption `keys`"),
        (f"{{{KEYS}}}", "state: needs exactly one of `path` and `redis`"),
        (f"{{path: s.db, redis: {{url: 'redis://a'}}, {KEYS}}}", "state: needs exactly one of `path` and `redis`"),
        (f"{{file: s.db, {KEYS}}}", "state.file: is not a known key"),
        (f"{{redis: {{url: 'redis://me:hunter2@a'}}, {KEYS}}}", "state.redis.url: must not contain a user or password"),
        (
            f"{{redis: {{url: 'redis://a', password: hunter2}}, {KEYS}}}",
            "state.redis.password: a secret must not be",
        ),
        (f"{{redis: {{url: 'redis://a', username: me}}, {KEYS}}}", "state.redis: has a `username` but no `password`"),
        (f"{{redis: {{url: 'redis://a', tls: {{}}}}, {KEYS}}}", "state.redis: has `tls`, but its `url` does not use"),
        (
            f"{{redis: {{url: 'redis://a', sentinel: {{password: {{env: PASSWORD}}}}}}, {KEYS}}}",
            "state.redis: has `sentinel`, but its `url` names none",
        ),
        (f"{{redis: {{url: 'redis://a', prefix: 'a:b'}}, {KEYS}}}", "state.redis.prefix: is not a name"),
        (
            f"{{redis: {{url: 'redis://a', password: {{env: NONE}}}}, {KEYS}}}",
            "state.redis.password.env: the environment",
        ),
        (
            "{path: s.db, keys: [{env: SHORT}]}",
            "state.keys[0].env: the secret of `SHORT` is not a key of 32 bytes in ",
        ),
        ("{path: s.db, keys: [{env: HEX}, {env: NONE}]}", "state.keys[1].env: the environment variable `NONE` is not"),
        ("{path: s.db, keys: [hunter2]}", "state.keys[0]: a secret must not be in the file"),
        ("{path: s.db, keys: {env: HEX}}", "state.keys: must be a list"),
        (f"{{path: s.db, {KEYS}, timeout: 1}}", "state.timeout: needs a number with a unit"),
    ],
)
def test_a_mistake_is_reported_with_place_and_remedy(tmp_path: Path, state: str, words: str) -> None:
    [problem] = problems_of(tmp_path, state)
    assert problem.startswith(words)
    assert "hunter2" not in problem
    assert "; " in problem
