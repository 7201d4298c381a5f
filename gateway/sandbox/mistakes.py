"""Set-up mistakes that the sandbox reproduces: its switches, and the configuration that it prints for a gateway.
Pure.

The name of a mistake is the code that `oic-gateway check --live` finds in that configuration. If several mistakes have
the same code, a slash and a second word distinguish them, as in `invalid_client/inactive`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.sandbox.clients import DEFAULT_SECRET, DEFAULT_USER
from gateway.sandbox.scope_check import API, AUDIENCE, OTHER_AUDIENCE, TRIGGER

REST = "{origin}/ic/api/integration/v1/flows/rest"
PROJECT = "{origin}/ic/api/integration/v2/flows/rest/project"
DEVELOPER = "{origin}/ic/api/integration/v1/"


@dataclass(frozen=True, slots=True)
class ReproducibleMistake:
    """One mistake.

    Texts within `credential`, `route`, `file` and `files` may name `{origin}` and `{design}` (of the sandbox),
    `{host}` (its name and port), `{folder}` (where files are written) and `{closed}` (an address whose port refuses).

    Attributes:
        summary: the mistake in a few words, for a list.
        switches: those of the sandbox that differ from their defaults, by name.
        credential: keys of the printed credential; None removes one.
        route: keys of the printed route.
        file: other keys of the printed file.
        secret: content of the secret file; not shown in a repr or the printed configuration.
        files: further files by name, with their text; an empty one becomes a new private key.
        follows: further codes that the check finds because of the mistake.
    """

    summary: str
    switches: Mapping[str, Any] = field(default_factory=dict)
    credential: Mapping[str, Any] = field(default_factory=dict)
    route: Mapping[str, Any] = field(default_factory=dict)
    file: Mapping[str, Any] = field(default_factory=dict)
    secret: str = field(default=DEFAULT_SECRET, repr=False)
    files: Mapping[str, str] = field(default_factory=dict)
    follows: tuple[str, ...] = ()


_STATE = {"state": {"path": "{folder}/state.db", "keys": [{"file": "{folder}/state-key"}]}}
_STATE_KEY = {"state-key": "0123456789abcdef" * 4}
_NO_STORE = {"state": {"redis": {"url": "redis://{closed}/0"}, "keys": [{"file": "{folder}/state-key"}]}}

CREDENTIALS = {
    "invalid_client": ReproducibleMistake("the secret is wrong", secret=DEFAULT_SECRET[::-1]),
    "invalid_client/inactive": ReproducibleMistake("the application is not activated", {"application": "inactive"}),
    "invalid_client/unknown": ReproducibleMistake(
        "the client id belongs to no application", credential={"client_id": "unknown-app"}
    ),
    "secret-blank": ReproducibleMistake("the secret has a blank at its end", secret=f"{DEFAULT_SECRET} "),
    "secret-blank/quotes": ReproducibleMistake("the secret is in quotes", secret=f'"{DEFAULT_SECRET}"'),
    "client-id-shape": ReproducibleMistake(
        "the client id is a URL", credential={"client_id": "https://idcs-5a0db0c5.identity.oraclecloud.com/"}
    ),
    "client-key": ReproducibleMistake(
        "an assertion signed with a key whose certificate is not imported",
        credential={
            "client_secret": None,
            "client_auth": "private_key_jwt",
            "signing": {"private_key": {"file": "{folder}/client-key.pem"}, "kid": "not-imported"},
        },
        files={"client-key.pem": ""},
    ),
    "unauthorized_client": ReproducibleMistake("the grant is not ticked", {"allowed_grants": ("authorization_code",)}),
    "unsupported_grant_type": ReproducibleMistake(
        "the server does not know the grant", {"token_fault": "unsupported_grant_type"}
    ),
    "invalid_grant": ReproducibleMistake(
        "the user's password is wrong",
        credential={"grant": "password", "username": DEFAULT_USER, "password": {"file": "{folder}/password"}},
        files={"password": "not-the-password"},
    ),
    "invalid_grant/refresh": ReproducibleMistake(
        "the refresh token is used up",
        credential={"grant": "refresh_token", "refresh_token": {"file": "{folder}/refresh-token"}},
        file=_STATE,
        files={**_STATE_KEY, "refresh-token": "used-up"},
    ),
    "sign-in": ReproducibleMistake(
        "a person must sign in and has not",
        credential={"grant": "authorization_code"},
        file=_STATE,
        files=_STATE_KEY,
    ),
    "invalid_request": ReproducibleMistake("the token request lacks a parameter", {"token_fault": "400"}),
    "invalid_target": ReproducibleMistake("the resource is unknown", {"token_fault": "invalid_target"}),
    "access_denied": ReproducibleMistake("a policy of the identity domain refuses", {"token_fault": "access_denied"}),
    "limited": ReproducibleMistake(
        "the 150 tokens a minute of a Free domain are used up", {"token_budget_per_minute": 0}
    ),
    "redirect": ReproducibleMistake("the token endpoint redirects to a sign-in page", {"token_fault": "redirect"}),
    "token-url": ReproducibleMistake(
        "`token_url` is another path of the identity domain", credential={"token_url": "{origin}/oauth/token"}
    ),
    "unreadable": ReproducibleMistake("a sign-in page answers in place of the token endpoint", {"token_fault": "html"}),
    "domain-failing": ReproducibleMistake("the identity domain answers 503", {"token_fault": "503"}),
    "token-type": ReproducibleMistake(
        "the token is for proof of possession, not a Bearer token", {"token_fault": "token-type"}
    ),
    "short-lived": ReproducibleMistake("tokens live for 20 seconds", {"token_lifetime": 20}),
    "audience-other": ReproducibleMistake(
        "the token's audience is another instance",
        {"token_audience": OTHER_AUDIENCE},
        follows=("other-instance",),
    ),
    "client-other": ReproducibleMistake(
        "the token is another client's", {"token_client": "another-app"}, follows=("role-missing",)
    ),
    "clock-skew": ReproducibleMistake("this machine's clock is ten minutes behind", {"clock_offset": 600.0}),
    "state": ReproducibleMistake("the store of `state` does not exist", file=_NO_STORE, files=_STATE_KEY),
    "store": ReproducibleMistake(
        "a refresh token without a store: its successor could be lost",
        credential={"grant": "refresh_token", "refresh_token": {"file": "{folder}/refresh-token"}},
        file=_NO_STORE,
        files={**_STATE_KEY, "refresh-token": "any"},
        follows=("state",),
    ),
    "configuration": ReproducibleMistake("a key of the file is misspelt", file={"lisen": "127.0.0.1:8080"}),
    "configuration/secret": ReproducibleMistake(
        "the secret is in a variable that is not set", credential={"client_secret": {"env": "OIC_SANDBOX_NO_SECRET"}}
    ),
    "configuration/certificate": ReproducibleMistake(
        "the file of `tls.ca` is not a certificate",
        {"certificate": "trusted"},
        credential={"tls": {"ca": "{folder}/no-certificate.pem"}},
        files={"no-certificate.pem": "not PEM\n"},
    ),
    "waiting": ReproducibleMistake(
        "the identity domain is slower than `token_wait`", {"token_delay": 30.0}, credential={"token_wait": "500ms"}
    ),
}


_UNKNOWN = AUDIENCE.replace("5A0DB0C5", "FFFFFFFF")
_BY_HOST = "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com:443"
_TWO = f"{AUDIENCE}{TRIGGER} {OTHER_AUDIENCE}{TRIGGER}"

SCOPES = {
    "invalid_scope": ReproducibleMistake(
        "a scope that the application may not ask for", credential={"scope": f"{_UNKNOWN}{TRIGGER}"}
    ),
    "scope-slash": ReproducibleMistake(
        "a slash before `urn` in the scope", credential={"scope": f"{AUDIENCE}/{TRIGGER}"}
    ),
    "scope-several": ReproducibleMistake("several resources at once in the scope", credential={"scope": _TWO}),
    "several-resources": ReproducibleMistake(
        "several resources with `multiresourcescope`: a token for each",
        credential={"scope": f"{_TWO} urn:opc:resource:multiresourcescope"},
    ),
    "scope-form": ReproducibleMistake(
        "the host name in place of the primary audience", credential={"scope": f"{_BY_HOST}{TRIGGER}"}
    ),
    "other-instance": ReproducibleMistake(
        "the scope of another instance", credential={"scope": f"{OTHER_AUDIENCE}{TRIGGER}"}
    ),
    "scope-kind": ReproducibleMistake(
        "the developer API's scope for a trigger", credential={"scope": f"{AUDIENCE}{API}"}
    ),
    "scope-kind/developer": ReproducibleMistake(
        "the triggers' scope for the developer API",
        route={
            "upstream": "{origin}/ic/api/integration/v1/",
            "design": "{design}",
            "query": {"set": {"integrationInstance": "demo"}},
        },
    ),
}


_API = {"scope": f"{AUDIENCE}{API}"}
_NAMED = {"query": {"set": {"integrationInstance": "demo"}}}

ROUTES = {
    "role-missing": ReproducibleMistake("the role is not granted: 401 with a good token", {"roles": ()}),
    "role-missing/403": ReproducibleMistake("the role is not granted: 403", {"roles": (), "role_refusal": 403}),
    "role-missing/developer": ReproducibleMistake(
        "ServiceInvoker alone, for the developer API",
        {"roles": ("ServiceInvoker",)},
        credential=_API,
        route={"upstream": DEVELOPER, "design": "{design}", **_NAMED},
    ),
    "refused": ReproducibleMistake(
        "401 at a URL of neither a trigger nor the developer API",
        {"roles": ()},
        route={"upstream": "{origin}/ic/else/"},
    ),
    "allow-list": ReproducibleMistake("this host is not on the instance's allow-list", {"allowlisted": False}),
    "allow-list/reset": ReproducibleMistake(
        "this host is not on the allow-list: TCP reset", {"allowlisted": False, "allowlist_refusal": "reset"}
    ),
    "not-found": ReproducibleMistake(
        "no such integration in the project", route={"upstream": f"{PROJECT}/DEMO/NOSUCH/1.0/"}
    ),
    "unknown-url": ReproducibleMistake(
        "a URL of an unknown kind: reported, but not a failure", route={"upstream": "{origin}/ic/"}
    ),
    "classic-url": ReproducibleMistake(
        "the classic URL of an integration in a project", route={"upstream": f"{REST}/PROJORDERS/1.0/"}
    ),
    "project-url": ReproducibleMistake(
        "a project's path under /v1/", route={"upstream": f"{REST}/project/DEMO/PROJORDERS/1.0/"}
    ),
    "wrong-version": ReproducibleMistake("another major version", route={"upstream": f"{REST}/ORDERS/2.0/"}),
    "wrong-version/console": ReproducibleMistake(
        "the version in the form of the console", route={"upstream": f"{REST}/ORDERS/01.00.0000/"}
    ),
    "version-missing": ReproducibleMistake("the version is left out", route={"upstream": f"{REST}/ORDERS/"}),
    "developer-host": ReproducibleMistake(
        "the developer API on the runtime host, which redirects", credential=_API, route={"upstream": DEVELOPER}
    ),
    "developer-instance": ReproducibleMistake(
        "the developer API without `integrationInstance`",
        credential=_API,
        route={"upstream": DEVELOPER, "design": "{design}"},
    ),
    "console-url": ReproducibleMistake(
        "an address of the console, which requires a sign-in", route={"upstream": "{origin}/ic/home/"}
    ),
    "redirected": ReproducibleMistake(
        "the instance has moved", {"fault_status": 301, "fault_location": "https://moved.sandbox.invalid/ic/"}
    ),
    "limited-upstream": ReproducibleMistake("the instance answers 429", {"fault_status": 429}),
    "upstream-failing": ReproducibleMistake("the instance answers 503, and no flow has run", {"fault_status": 503}),
    "upstream-timeout": ReproducibleMistake(
        "no response in time", {"reply_delay": 30.0}, route={"timeout": {"response": "500ms"}}
    ),
    "upstream-broken": ReproducibleMistake("the response ends before its head", {"cut_replies": True}),
}


NETWORK_MISTAKES = {
    "dns": ReproducibleMistake("the host name does not resolve", {"unknown_host": True}),
    "connect": ReproducibleMistake(
        "the port refuses",
        credential={"token_url": "http://{closed}/oauth2/v1/token"},
        route={"upstream": "http://{closed}/ic/api/integration/v1/flows/rest/ORDERS/1.0/"},
    ),
    "timeout": ReproducibleMistake(
        "the identity domain does not answer in time", {"token_delay": 30.0}, credential={"timeout": "500ms"}
    ),
    "network": ReproducibleMistake("the connection to the identity domain breaks", {"token_fault": "reset"}),
    "broken": ReproducibleMistake("the identity domain closes the connection", {"token_fault": "outage"}),
    "proxy": ReproducibleMistake(
        "the egress proxy refuses the tunnel", {"certificate": "trusted", "egress_proxy": "refuses"}
    ),
    "proxy/gone": ReproducibleMistake(
        "no program listens on the egress proxy's port",
        {"certificate": "trusted"},
        credential={"proxy": {"url": "http://{closed}"}},
        route={"proxy": {"url": "http://{closed}"}},
    ),
    "proxy-login": ReproducibleMistake(
        "the egress proxy requires a user and a password", {"certificate": "trusted", "egress_proxy": "407"}
    ),
    "tls": ReproducibleMistake(
        "https to a port that uses http",
        credential={"token_url": "https://{host}/oauth2/v1/token"},
        route={"upstream": "https://{host}/ic/api/integration/v1/flows/rest/ORDERS/1.0/"},
    ),
    "tls-trust": ReproducibleMistake("the certificate's authority is not trusted", {"certificate": "untrusted"}),
    "tls-inspection": ReproducibleMistake(
        "a TLS inspection proxy signs the certificate", {"certificate": "inspection"}
    ),
    "tls-name": ReproducibleMistake("the certificate is for another name", {"certificate": "wrong-name"}),
    "tls-expired": ReproducibleMistake("the certificate has expired", {"certificate": "expired"}),
}

MISTAKES: dict[str, ReproducibleMistake] = {**CREDENTIALS, **SCOPES, **ROUTES, **NETWORK_MISTAKES}


def code_of(name: str) -> str:
    """Return the code of a mistake."""
    return name.partition("/")[0]


def list_mistakes() -> str:
    """Return all mistakes with a line each, for people."""
    width = max(map(len, MISTAKES))
    return "".join(f"{name:<{width}}  {row.summary}\n" for name, row in MISTAKES.items())
