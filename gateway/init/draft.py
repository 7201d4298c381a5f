"""Render the first configuration. Pure."""

import json
import re
from dataclasses import dataclass

from gateway.config.default_addresses import DEFAULT_ADMIN, DEFAULT_LISTEN
from gateway.init.route_naming import credential_name

# Words that a version of YAML reads as another type than text.
_RESERVED = frozenset("null true false yes no on off y n ~".split())
_PLAIN = re.compile(r"[A-Za-z/.][A-Za-z0-9_./:%@+=~-]*[A-Za-z0-9_/]|[A-Za-z/]|(?:[0-9]+\.){3}[0-9]+:[0-9]+")

_HEAD = """\
# First configuration, written by `oic-gateway init`. `oic-gateway help` lists the commands, and `oic-gateway schema`
# prints every key with its default. `oic-gateway check -c FILE` reports every error of a file; with --live it also
# sends real requests to the identity domain and to OIC. `include: [teams/*.yaml]` adds files with more routes, and
# `watch: true` reloads the configuration when a file has changed.

# The address for callers. Every caller that can connect uses the credentials below. If other machines can reach the
# address, `allow` is required.
"""

_CREDENTIAL = """\
# How the gateway gets tokens. Routes with the same credential share its token.
credentials:
  {credential}:
    grant: client_credentials
    token_url: {token_url}
    client_id: {client_id}
    # The gateway reads this file for each new token. A relative path starts at the folder of this configuration.
    client_secret: {{file: {secret_file}}}
    # The primary audience of the instance and the permission, without a slash between them.
    scope: {scope}
"""

_ROUTE = """\
routes:
  # {base}17 becomes {target}
  - name: {name}
    path: {path}
    upstream: {upstream}
    credential: {credential}
    # A token is valid for the whole instance. Only path and methods restrict callers to a part of it.
    #methods: [GET, POST]
"""

_QUERY = """\
    # The developer API needs the name of the instance.
    query: {{set: {{integrationInstance: {instance}}}}}
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """The values of a first configuration with one credential and one route. `instance` is set for the developer API
    only; `allow` is empty if only this machine calls.
    """

    token_url: str
    client_id: str
    secret_file: str
    scope: str
    upstream: str
    name: str
    path: str
    instance: str = ""
    listen: str = DEFAULT_LISTEN
    admin: str = DEFAULT_ADMIN
    allow: tuple[str, ...] = ()


def render(draft: Draft) -> str:
    """Return the YAML text of the file. It contains exactly the values of the draft, for every text."""
    values = {
        key: yaml_scalar(getattr(draft, key))
        for key in ("token_url", "client_id", "secret_file", "scope", "name", "path", "upstream", "instance")
    }
    values["credential"] = yaml_scalar(credential_name(draft.name))
    values["base"], values["target"] = f"http://GATEWAY{draft.path}", comment_text(draft.upstream.rstrip("/") + "/17")
    listen = f"listen: {yaml_scalar(draft.listen)}\n"
    allow = f"allow: [{', '.join(map(json.dumps, draft.allow))}]\n" if draft.allow else "#allow: [10.0.0.0/8]\n"
    admin = f"\n# Health, metrics and status.\nadmin: {yaml_scalar(draft.admin)}\n\n"
    query = _QUERY if draft.instance else ""
    return _HEAD + listen + allow + admin + (_CREDENTIAL + "\n" + _ROUTE + query).format_map(values)


def yaml_scalar(text: str) -> str:
    """Return the YAML scalar of the text: plain if every YAML version reads the same text, else in double quotes."""
    if (
        _PLAIN.fullmatch(text)
        and text.lower() not in _RESERVED
        and not re.fullmatch(r"\.(inf|nan)", text, re.IGNORECASE)
    ):
        return text
    return json.dumps(text, ensure_ascii=False)


def comment_text(text: str) -> str:
    """Return the text as one line of printable ASCII, for a comment."""
    return re.sub(r"[^!-~]", "?", text)
