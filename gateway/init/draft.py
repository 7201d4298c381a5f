"""The text of a first configuration. Pure."""

import json
import re
from dataclasses import dataclass

from gateway.init.route_naming import credential_of

# What YAML would read as something other than text, in this version or in its older ones.
_WORDS = frozenset("null true false yes no on off y n ~".split())
_PLAIN = re.compile(r"[A-Za-z/.][A-Za-z0-9_./:%@+=~-]*[A-Za-z0-9_/]|[A-Za-z/]|(?:[0-9]+\.){3}[0-9]+:[0-9]+")

_HEAD = """\
# A first configuration, by `oic-gateway init`. docs/configuration.md lists every key with its default;
# `oic-gateway check -c FILE` says what is wrong with a file, and with --live what identity domain and OIC answer.

# Where callers connect. Whoever can reach it calls OIC with the credentials below, so an address that other machines
# reach needs `allow`.
"""

_CREDENTIAL = """\
# How tokens are obtained (docs/tokens.md). Routes that name the same credential share its token.
credentials:
  {credential}:
    grant: client_credentials
    token_url: {token_url}
    client_id: {client_id}
    # The secret is read from this file again for each token; its path counts from the folder of this file.
    client_secret: {{file: {secret_file}}}
    # The primary audience of the instance and what it opens, without a slash between.
    scope: {scope}
"""

_ROUTE = """\
routes:
  # {base}17 becomes {target}
  - name: {name}
    path: {path}
    upstream: {upstream}
    credential: {credential}
    # One token opens the whole instance: path and methods are what keeps callers to this part of it.
    #methods: [GET, POST]
"""

_QUERY = """\
    # The developer API is asked of this instance.
    query: {{set: {{integrationInstance: {instance}}}}}
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a first configuration says: one credential, one route. `instance` is empty but for the developer API,
    `allow` where only this machine calls.
    """

    token_url: str
    client_id: str
    secret_file: str
    scope: str
    upstream: str
    name: str
    path: str
    instance: str = ""
    listen: str = "127.0.0.1:8080"
    admin: str = "127.0.0.1:9090"
    allow: tuple[str, ...] = ()


def text_of(draft: Draft) -> str:
    """The file: YAML that says exactly the values of the draft, whatever is in them."""
    facts = {
        key: scalar(getattr(draft, key))
        for key in ("token_url", "client_id", "secret_file", "scope", "name", "path", "upstream", "instance")
    }
    facts["credential"] = scalar(credential_of(draft.name))
    facts["base"], facts["target"] = f"http://GATEWAY{draft.path}", shown(draft.upstream.rstrip("/") + "/17")
    listen = f"listen: {scalar(draft.listen)}\n"
    allow = f"allow: [{', '.join(map(json.dumps, draft.allow))}]\n" if draft.allow else "#allow: [10.0.0.0/8]\n"
    admin = f"\n# Health, metrics and status.\nadmin: {scalar(draft.admin)}\n\n"
    query = _QUERY if draft.instance else ""
    return _HEAD + listen + allow + admin + (_CREDENTIAL + "\n" + _ROUTE + query).format_map(facts)


def scalar(text: str) -> str:
    """The text as YAML writes it: plain where that reads well and means the same, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS and not re.fullmatch(r"\.(inf|nan)", text, re.IGNORECASE):
        return text
    return json.dumps(text, ensure_ascii=False)


def shown(text: str) -> str:
    """A text for a comment: one line, whatever is in it."""
    return re.sub(r"[^!-~]", "?", text)
