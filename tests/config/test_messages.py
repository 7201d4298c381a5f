"""Each mistake gives one message with problem and remedy, without a secret."""

from collections.abc import Callable

import pytest

ProblemsOf = Callable[[str], list[str]]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("    client_id: an-id\n", "", "3: credentials.app.client_id: is missing; add it"),
        (
            "client_id: an-id",
            "client_id:",
            "5: credentials.app.client_id: is empty; write a value, or remove the key",
        ),
        ("client_id: an-id", 'client_id: ""', "5: credentials.app.client_id: is empty; write a value"),
        (
            "an-id",
            "17",
            "5: credentials.app.client_id: must be a string; quote it",
        ),
        (
            "an-id",
            "an-id\n    renew: {share: 20%}",
            "6: credentials.app.renew.share: must be a number; write it like 0.2, without quotes or unit",
        ),
        (
            "an-id",
            "an-id\n    renew: {share: 0.9}",
            "6: credentials.app.renew.share: is too large; write 0.5 or less",
        ),
        (
            "an-id",
            "an-id\n    budget: {per_minute: 0}",
            "6: credentials.app.budget.per_minute: is too small; write 1 or more",
        ),
        ("an-id", "[a]", "5: credentials.app.client_id: must be a string; write a single value"),
        ("listen:", "listne:", "1: listne: is not a known key; did you mean `listen`?"),
        (
            "127.0.0.1:8080",
            "localhost",
            "1: listen: is not an address; write HOST:PORT, like 127.0.0.1:8080, or unix:/path",
        ),
        (
            "127.0.0.1:8080",
            "'::1:80'",
            "1: listen: is not an address; write HOST:PORT, like 127.0.0.1:8080, or unix:/path",
        ),
        (
            "127.0.0.1:8080",
            "h:99999",
            "1: listen: is not an address; write HOST:PORT, like 127.0.0.1:8080, or unix:/path",
        ),
        (
            "127.0.0.1:8080",
            "unix:/" + "x" * 107,
            "1: listen: is not a socket path of up to 107 bytes; write it like unix:/run/gateway.sock",
        ),
        (
            "listen: 127.0.0.1:8080",
            "allow: [10.0.0.0/33]",
            "1: allow[0]: is not a network; write it like 10.0.0.0/8 or fd00::/8",
        ),
        (
            "listen: 127.0.0.1:8080",
            "allow: [10.0.0.1/8]",
            "1: allow[0]: has host bits set; write the address of the network",
        ),
        (
            "listen: 127.0.0.1:8080",
            "allow: 10.0.0.0/8",
            "1: allow: must be a list; write it like [a, b], or one `- a` per line",
        ),
        (
            "listen: 127.0.0.1:8080",
            "hosts: ['gw:80']",
            "1: hosts[0]: is not a host name; write it like gw.example.com, without scheme or port",
        ),
        ("listen: 127.0.0.1:8080", "log: loud", "1: log: must be a mapping; write `key: value` lines under it"),
        (
            "listen: 127.0.0.1:8080",
            "log:\n  level: loud",
            "2: log.level: is not an allowed value; write 'debug', 'info', 'warning' or 'error'",
        ),
        (
            "listen: 127.0.0.1:8080",
            "log: {to: journal}",
            "1: log.to: is not an allowed value; write 'stdout' or 'journald'",
        ),
        (
            "listen: 127.0.0.1:8080",
            "log: {to: {syslog: '127.0.0.1:0'}}",
            "1: log.to.syslog: has no port; write HOST:PORT, like logs.corp:601",
        ),
        (
            "listen: 127.0.0.1:8080",
            "log: {to: {syslog: /dev/log}}",
            "1: log.to.syslog: is not an address; write HOST:PORT, like 127.0.0.1:8080, or unix:/path",
        ),
        (
            "listen: 127.0.0.1:8080",
            "log: {to: {syslog: unix:/dev/log, size: 1MiB}}",
            "1: log.to: has `size`, which only a file has; remove it, or write path: FILE",
        ),
        ("listen: 127.0.0.1:8080", "limits: {fields: 7}", "1: limits.fields: is too small; write 8 or more"),
        ("listen: 127.0.0.1:8080", "limits: {fields: 1001}", "1: limits.fields: is too large; write 1000 or less"),
        (
            "listen: 127.0.0.1:8080",
            "limits: {fields: '9'}",
            "1: limits.fields: must be a whole number; write digits only, without quotes or unit",
        ),
        (
            "listen: 127.0.0.1:8080",
            "limits: {body: 25}",
            "1: limits.body: needs a number with a unit; write it like 64KiB or 25MiB",
        ),
        (
            "listen: 127.0.0.1:8080",
            "limits: {uri: 1B}",
            "1: limits.uri: must be from 1KiB to 1MiB; write it like 16KiB",
        ),
        ("listen: 127.0.0.1:8080", "drain: 0s", "1: drain: must be longer than zero; write it like 5s"),
        (
            "listen: 127.0.0.1:8080",
            "drain: 1:30",
            "1: drain: needs a number with a unit; write it like 330s, 250ms or 5m",
        ),
        (
            "{env: APP_SECRET}",
            "{}",
            (
                "6: credentials.app.client_secret: needs exactly one of `file`, `env`, `credential`, `oci_vault` "
                "and `vault`; write {file: /path} or {env: NAME}"
            ),
        ),
        (
            "{env: APP_SECRET}",
            "{env: A-B}",
            (
                "6: credentials.app.client_secret.env: is not the name of an environment variable; "
                "write it like ORDERS_SECRET"
            ),
        ),
        (
            "{env: APP_SECRET}",
            "{env: NONE}",
            "6: credentials.app.client_secret.env: the environment variable `NONE` is not set; set it to the secret",
        ),
        (
            "{env: APP_SECRET}",
            "[hunter2]",
            (
                "6: credentials.app.client_secret[0]: a secret must not be in the file; "
                "write {file: /path} or {env: NAME}"
            ),
        ),
        ("{env: APP_SECRET}", "[]", "6: credentials.app.client_secret: is an empty list; write at least one entry"),
        (
            "{env: APP_SECRET}",
            "[{env: APP_SECRET}, {hunter2: x}]",
            (
                "6: credentials.app.client_secret[1]: has a key other than `file`, `env`, `credential`, "
                "`oci_vault` and `vault`; write {file: /path} or {env: NAME}"
            ),
        ),
        (
            "an-id",
            "an-id\n    params: {scope: x}",
            "6: credentials.app.params: must not set scope, which the gateway sets; use that key, or remove it",
        ),
        ("an-id", "an-id\n    scope: []", "6: credentials.app.scope: is empty; write the scope, or remove the key"),
        (
            "an-id",
            "an-id\n    grant: implicit",
            (
                "6: credentials.app.grant: is not an allowed value; write 'client_credentials', 'authorization_code', "
                "'refresh_token', 'jwt_bearer', 'password' or 'tls_client_auth'"
            ),
        ),
        (
            "an-id",
            "an-id\n    proxy: {url: 'http://p:1', username: 'a:b', password: {env: APP_SECRET}}",
            (
                "6: credentials.app.proxy: has a colon in `username`; "
                "Basic authentication cannot carry it, use another user"
            ),
        ),
        (
            "an-id",
            "an-id\n    proxy: {url: 'http://p:1', password: {env: APP_SECRET}}",
            "6: credentials.app.proxy: has a `password` but no `username`; set both or none",
        ),
        (
            "https://idcs.example/",
            "ftp://idcs.example/",
            "4: credentials.app.token_url: is not an http or https URL with a host; write it like https://host/path",
        ),
        (
            "https://idcs.example/",
            "https://me:hunter2@idcs.example/",
            "4: credentials.app.token_url: must not contain a user or password; set `username` and `password`",
        ),
        (
            "https://idcs.example/",
            "https://[idcs/",
            "4: credentials.app.token_url: is not a URL; write it like https://host/path",
        ),
        (
            "https://idcs.example/",
            "https://idcs.example/ä",
            "4: credentials.app.token_url: has a space or non-ASCII character; percent-encode it",
        ),
        (
            "https://idcs.example/",
            "https://idcs!/",
            "4: credentials.app.token_url: has no valid host; write it like https://host/path",
        ),
        (
            "https://acme.example/ic",
            "https://acme.example/%2E./ic",
            "10: routes[0].upstream: has a backslash, `.` or `..` in its path; write the resolved path",
        ),
        (
            "https://acme.example/ic",
            "https://acme.example/?ic",
            "10: routes[0].upstream: must not have a query or fragment; remove what follows the path",
        ),
        (
            "name: orders",
            "name: or ders",
            (
                "8: routes[0].name: is not a name; "
                "use up to 63 letters, digits, `.`, `_`, `-`, beginning with a letter or digit"
            ),
        ),
        ("path: /orders/", "path: orders", "9: routes[0].path: does not begin with a slash; write it like /orders/"),
        (
            "credential: app",
            "credential: app\n    keep_cookies: no",
            "12: routes[0].keep_cookies: must be true or false; write true or false, without quotes",
        ),
        (
            "credential: app",
            "credential: app\n    methods: []",
            "12: routes[0].methods: is an empty list; write at least one entry",
        ),
        (
            "credential: app",
            "credential: app\n    origins: ['https://a/b']",
            "12: routes[0].origins[0]: is not an origin; write it like https://app.example.com, without a path, or *",
        ),
        (
            "credential: app",
            "credential: app\n    tls: {ca: none.pem}",
            (
                "12: routes[0].tls.ca: the file `FOLDER/none.pem` cannot be read (No such file or directory); "
                "correct the path or its permissions"
            ),
        ),
        (
            "credential: app",
            "credential: app\n    tls: {ca: gateway.yaml}",
            (
                "12: routes[0].tls.ca: the file `FOLDER/gateway.yaml` holds no certificates in PEM; "
                "name a PEM file of authorities"
            ),
        ),
    ],
)
def test_one_mistake_gives_one_message(problems_of: ProblemsOf, valid: str, old: str, new: str, expected: str) -> None:
    assert old in valid
    assert problems_of(valid.replace(old, new)) == [expected]


SECRET = "hunter2"


@pytest.mark.parametrize(
    "written",
    [
        f"client_secret: {SECRET}",
        f"client_secret: '{SECRET}",
        f"client_secret: *{SECRET}",
        f"client_secret: !{SECRET} x",
        f"client_secret: !{SECRET}!a x",
        f"client_secret: {{{SECRET}}}",
        f"client_secret: {{{SECRET}, {SECRET}}}",
        f"client_secret: {{? [{SECRET}] : x}}",
        f"client_secret: [{SECRET}]",
        f"client_secret: [{{env: APP_SECRET}}, {{{SECRET}: x}}]",
        f"client_secret: [{{env: APP_SECRET}}, {{file: /nowhere, {SECRET}: {{}}}}]",
        f"client_secret: {{env: APP_SECRET}}\n    refresh_token: {SECRET}",
        f"client_secret: {{env: APP_SECRET}}\n    signing: {{private_key: {SECRET}, key_password: {SECRET}}}",
        f"client_secret: {{env: APP_SECRET}}\n    tls: {{cert: gateway.yaml, key_password: {{{SECRET}: x}}}}",
        f"client_secret: &{SECRET} &{SECRET} x",
        f"client_secret: {{file: [{SECRET}]}}",
        f"client_secret: {{env: '{SECRET}!'}}",
        f"client_secret: {{value: {SECRET}}}",
        f"client_secret: {{value: {{deep: {SECRET}}}}}",
        f"client_secret: >\n      {SECRET}",
        f"client_secret:{SECRET}",
        f"client_secret={SECRET}",
        f'"client_secret:{SECRET}": x',
        f"client_secrt: {SECRET}",
        f"client_secret: {SECRET}: x",
        f"client_secret: {SECRET}\n    client_secret: {SECRET}",
        f"client_secret: {{env: APP_SECRET}}\n    proxy: {{url: 'http://u:{SECRET}@h'}}",
        f"client_secret: {{env: APP_SECRET}}\n    proxy: {{url: 'http://h', username: a, password: {SECRET}}}",
        f"client_secret: {{env: APP_SECRET}}\n    proxy: {{url: 'http://h', username: a, password:{SECRET}}}",
        f"client_secret: {{env: APP_SECRET}}\n    params: {{client_secret: {SECRET}}}",
    ],
)
def test_secret_in_the_file_is_rejected_and_not_shown(problems_of: ProblemsOf, valid: str, written: str) -> None:
    problems = problems_of(valid.replace("client_secret: {env: APP_SECRET}", written))
    assert problems
    assert SECRET not in "\n".join(problems)
