"""Set-up mistakes: the switches that play them, what is configured wrongly, and what must be said of them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.sandbox import API, AUDIENCE, DEFAULT_SECRET, OTHER_AUDIENCE, TRIGGER, Sandbox
from tests.system.scene import Settings, credential, route

UNKNOWN = AUDIENCE.replace("5A0DB0C5", "FFFFFFFF")

Change = Callable[[Settings, Sandbox], object]


def document_of(folder: Path, sandbox: Sandbox, *, secret: str = DEFAULT_SECRET) -> Settings:
    """One route `orders`; the secret is in a file, so that nothing depends on the environment."""
    file = folder / "secret"
    file.write_text(secret, encoding="utf-8")
    file.chmod(0o600)
    app = credential(sandbox.token_url, scope=sandbox.scope) | {"client_secret": {"file": str(file)}}
    return {"credentials": {"app": app}, "routes": [route("orders", sandbox.upstream("ORDERS"))]}


@dataclass(frozen=True, slots=True)
class Case:
    """A mistake: the switches that play it, what is configured wrongly, and what must be said of it."""

    code: str
    words: tuple[str, ...]
    switches: dict[str, Any] = field(default_factory=dict)
    change: Change = lambda settings, sandbox: None
    secret: str = DEFAULT_SECRET
    subject: str = "credential app"


def scope(text: str) -> Change:
    return lambda settings, sandbox: settings["credentials"]["app"].update(scope=text)


def token_url(path: str) -> Change:
    return lambda settings, sandbox: settings["credentials"]["app"].update(token_url=sandbox.origin + path)


def upstream(path: str, **more: Any) -> Change:
    return lambda settings, sandbox: settings["routes"][0].update(upstream=sandbox.origin + path, **more)


def developer(**more: Any) -> Change:
    def change(settings: Settings, sandbox: Sandbox) -> None:
        settings["credentials"]["app"]["scope"] = sandbox.api_scope
        keys = {key: value(sandbox) if callable(value) else value for key, value in more.items()}
        settings["routes"][0].update(upstream=f"{sandbox.origin}/ic/api/integration/v1/", **keys)

    return change


def design(sandbox: Sandbox) -> str:
    return sandbox.design_origin


REST = "/ic/api/integration/v1/flows/rest"
INSTANCE = {"set": {"integrationInstance": "acme"}}

CASES = {
    "the application is not activated": Case(
        "invalid_client", ("the application is not activated", "choose Activate"), {"application": "inactive"}
    ),
    "the grant is not ticked": Case(
        "unauthorized_client",
        ("not enabled", "Allowed grant types", "Client credentials"),
        {"allowed_grants": ("authorization_code",)},
    ),
    "the secret is wrong": Case(
        "invalid_client", ("(1) the secret is not the application's", "Show secret"), secret="wrong-secret"
    ),
    "the secret has a blank": Case(
        "secret-blank", ("white space at an end", "Write only the secret"), secret=f"{DEFAULT_SECRET} "
    ),
    "the secret has two newlines": Case(
        "secret-blank", ("white space at an end", "newlines"), secret=f"{DEFAULT_SECRET}\n\n"
    ),
    "the secret is in quotes": Case("secret-blank", ("quotes",), secret=f'"{DEFAULT_SECRET}"'),
    "the client id is a URL": Case(
        "client-id-shape",
        ("is a URL", "Copy Client ID"),
        change=lambda settings, _: settings["credentials"]["app"].update(client_id="https://idcs-1.example/"),
    ),
    "a slash before urn": Case(
        "scope-slash",
        ("without a slash before `urn`", f"should be {AUDIENCE}{TRIGGER}"),
        change=scope(f"{AUDIENCE}/{TRIGGER}"),
    ),
    "several resources": Case(
        "scope-several",
        ("one credential per resource",),
        change=scope(f"{AUDIENCE}{TRIGGER} {OTHER_AUDIENCE}{TRIGGER}"),
    ),
    "the scope of an instance that the application does not know": Case(
        "invalid_scope", ("primary audience", "Resources", "Add scope"), change=scope(f"{UNKNOWN}{TRIGGER}")
    ),
    "a scope with the host name": Case(
        "scope-form",
        ("Primary audience", "not its host name"),
        change=scope(f"https://acme.integration.us-phoenix-1.ocp.oraclecloud.com:443{TRIGGER}"),
    ),
    "another instance's scope": Case(
        "other-instance",
        ("The scope belongs to another instance", "Primary audience"),
        change=scope(f"{OTHER_AUDIENCE}{TRIGGER}"),
        subject="route orders",
    ),
    "the developer API's scope for a trigger": Case(
        "scope-kind", (TRIGGER, "/ic/api/"), change=scope(f"{AUDIENCE}{API}"), subject="route orders"
    ),
    "no role, told by 401": Case(
        "role-missing",
        ("has no role on this instance", "Application roles → ServiceInvoker", "Assigned applications"),
        {"roles": ()},
        subject="route orders",
    ),
    "no role, told by 403": Case(
        "role-missing",
        ("401 without a token", "ServiceInvoker"),
        {"roles": (), "role_refusal": 403},
        subject="route orders",
    ),
    "no role for the developer API": Case(
        "role-missing",
        ("ServiceUser or ServiceDeveloper",),
        {"roles": ("ServiceInvoker",)},
        developer(design=design, query=INSTANCE),
        subject="route orders",
    ),
    "a classic URL for an integration in a project": Case(
        "classic-url",
        ("belongs to a project", "/v2/flows/rest/project/PROJECT/CODE/1.0/"),
        change=upstream(f"{REST}/PROJORDERS/1.0/"),
        subject="route orders",
    ),
    "a project under v1": Case(
        "project-url",
        ("/v2/flows/rest/project/PROJECT/",),
        change=upstream(f"{REST}/project/DEMO/PROJORDERS/1.0/"),
        subject="route orders",
    ),
    "another major version": Case(
        "wrong-version",
        ("version 1.0 exists", "major version"),
        change=upstream(f"{REST}/ORDERS/2.0/"),
        subject="route orders",
    ),
    "a version that was forgotten": Case(
        "version-missing",
        ("version 1.0 exists", "Add the version after the code"),
        change=upstream(f"{REST}/ORDERS/"),
        subject="route orders",
    ),
    "a SOAP trigger's version that was forgotten": Case(
        "version-missing",
        ("version 1.0 exists",),
        change=upstream("/ic/ws/integration/v1/flows/soap/HELLO/"),
        subject="route orders",
    ),
    "another adapter's URL": Case(
        "not-found",
        ("answered 404", "It is not activated"),
        change=upstream("/ic/ws/integration/v1/flows/osc/NONE/1.0/"),
        subject="route orders",
    ),
    "the version as the console writes it": Case(
        "wrong-version", ("such as 1.0",), change=upstream(f"{REST}/NONE/01.00.0000/"), subject="route orders"
    ),
    "the developer API on the runtime host": Case(
        "developer-host",
        ("The developer API is on the region's design host", "integrationInstance"),
        change=developer(),
        subject="route orders",
    ),
    "the developer API without an instance": Case(
        "developer-instance",
        ("must name one of them", "query: {set: {integrationInstance:"),
        change=developer(design=design),
        subject="route orders",
    ),
    "a clock that is ten minutes behind": Case(
        "clock-skew", ("s ahead of this machine's", "NTP"), {"clock_offset": 600.0}
    ),
    "a clock that is ten minutes ahead": Case(
        "clock-skew", ("s behind this machine's", "NTP"), {"clock_offset": -600.0}
    ),
    "the allow-list answers": Case(
        "allow-list",
        ("403 without a token, too", "Network Access", "egress address"),
        {"allowlisted": False},
        subject="route orders",
    ),
    "the allow-list hangs up": Case(
        "allow-list",
        ("Restrict network access",),
        {"allowlisted": False, "allowlist_refusal": "reset"},
        subject="route orders",
    ),
    "a Free domain's limit": Case("limited", ("150 a minute", "share a credential"), {"token_fault": "429"}),
    "an identity domain in trouble": Case("domain-failing", ("the gateway retries",), {"token_fault": "500"}),
    "an identity domain that hangs up": Case("broken", ("closes the connection",), {"token_fault": "outage"}),
    "a sign-in page in place of the token endpoint": Case(
        "unreadable", ("Something else answers instead",), {"token_fault": "html"}
    ),
    "another path of the identity domain": Case(
        "token-url", ("the token endpoint is http://127.0.0.1:", "/oauth2/v1/token"), change=token_url("/oauth/token")
    ),
    "a token that is gone at once": Case("short-lived", ("Access token expiration",), {"token_lifetime": 20}),
    "an instance in trouble": Case(
        "upstream-failing", ("No flow has run",), {"fault_status": 503}, subject="route orders"
    ),
    "OIC's own limit": Case("limited-upstream", ("Call less often",), {"fault_status": 429}, subject="route orders"),
}
