"""Mistakes in a scope."""

from gateway.sandbox.mistakes.scenario_row import PlayableMistake
from gateway.sandbox.scope_check import API, AUDIENCE, OTHER_AUDIENCE, TRIGGER

_UNKNOWN = AUDIENCE.replace("5A0DB0C5", "FFFFFFFF")
_BY_HOST = "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com:443"
_TWO = f"{AUDIENCE}{TRIGGER} {OTHER_AUDIENCE}{TRIGGER}"

SCOPES = {
    "invalid_scope": PlayableMistake(
        "a scope that the application may not ask for", credential={"scope": f"{_UNKNOWN}{TRIGGER}"}
    ),
    "scope-slash": PlayableMistake("a slash before `urn` in the scope", credential={"scope": f"{AUDIENCE}/{TRIGGER}"}),
    "scope-several": PlayableMistake("several resources at once in the scope", credential={"scope": _TWO}),
    "several-resources": PlayableMistake(
        "several resources with `multiresourcescope`: a token for each",
        credential={"scope": f"{_TWO} urn:opc:resource:multiresourcescope"},
    ),
    "scope-form": PlayableMistake(
        "the host name in place of the primary audience", credential={"scope": f"{_BY_HOST}{TRIGGER}"}
    ),
    "other-instance": PlayableMistake(
        "the scope of another instance", credential={"scope": f"{OTHER_AUDIENCE}{TRIGGER}"}
    ),
    "scope-kind": PlayableMistake("the developer API's scope for a trigger", credential={"scope": f"{AUDIENCE}{API}"}),
    "scope-kind/developer": PlayableMistake(
        "the triggers' scope for the developer API",
        route={
            "upstream": "{origin}/ic/api/integration/v1/",
            "design": "{design}",
            "query": {"set": {"integrationInstance": "demo"}},
        },
    ),
}
