"""Mistakes in a scope."""

from gateway.sandbox.mistakes.row import Mistake
from gateway.sandbox.scopes import API, AUDIENCE, OTHER_AUDIENCE, TRIGGER

_UNKNOWN = AUDIENCE.replace("5A0DB0C5", "FFFFFFFF")
_BY_HOST = "https://acme.integration.us-phoenix-1.ocp.oraclecloud.com:443"
_TWO = f"{AUDIENCE}{TRIGGER} {OTHER_AUDIENCE}{TRIGGER}"

SCOPES = {
    "invalid_scope": Mistake(
        "a scope that the application may not ask for", credential={"scope": f"{_UNKNOWN}{TRIGGER}"}
    ),
    "scope-slash": Mistake("a slash before `urn` in the scope", credential={"scope": f"{AUDIENCE}/{TRIGGER}"}),
    "scope-several": Mistake("several resources at once in the scope", credential={"scope": _TWO}),
    "several-resources": Mistake(
        "several resources with `multiresourcescope`: a token for each",
        credential={"scope": f"{_TWO} urn:opc:resource:multiresourcescope"},
    ),
    "scope-form": Mistake(
        "the host name in place of the primary audience", credential={"scope": f"{_BY_HOST}{TRIGGER}"}
    ),
    "other-instance": Mistake("the scope of another instance", credential={"scope": f"{OTHER_AUDIENCE}{TRIGGER}"}),
    "scope-kind": Mistake("the developer API's scope for a trigger", credential={"scope": f"{AUDIENCE}{API}"}),
    "scope-kind/developer": Mistake(
        "the triggers' scope for the developer API",
        route={
            "upstream": "{origin}/ic/api/integration/v1/",
            "design": "{design}",
            "query": {"set": {"integrationInstance": "demo"}},
        },
    ),
}
