"""Mistakes with a route: its URL, roles, the allow-list; and what an instance in trouble answers."""

from gateway.sandbox.mistakes.scenario_row import DEVELOPER, PROJECT, REST, PlayableMistake
from gateway.sandbox.scope_check import API, AUDIENCE

_API = {"scope": f"{AUDIENCE}{API}"}
_NAMED = {"query": {"set": {"integrationInstance": "demo"}}}

ROUTES = {
    "role-missing": PlayableMistake("the role is not granted: 401 with a good token", {"roles": ()}),
    "role-missing/403": PlayableMistake("the role is not granted: 403", {"roles": (), "role_refusal": 403}),
    "role-missing/developer": PlayableMistake(
        "ServiceInvoker alone, for the developer API",
        {"roles": ("ServiceInvoker",)},
        credential=_API,
        route={"upstream": DEVELOPER, "design": "{design}", **_NAMED},
    ),
    "refused": PlayableMistake(
        "401 at a URL of neither a trigger nor the developer API",
        {"roles": ()},
        route={"upstream": "{origin}/ic/else/"},
    ),
    "allow-list": PlayableMistake("this host is not on the instance's allow-list", {"allowlisted": False}),
    "allow-list/reset": PlayableMistake(
        "this host is not on the allow-list: TCP reset", {"allowlisted": False, "allowlist_refusal": "reset"}
    ),
    "not-found": PlayableMistake(
        "no such integration in the project", route={"upstream": f"{PROJECT}/DEMO/NOSUCH/1.0/"}
    ),
    "unknown-url": PlayableMistake(
        "a URL of an unknown kind: reported, but not a failure", route={"upstream": "{origin}/ic/"}
    ),
    "classic-url": PlayableMistake(
        "the classic URL of an integration in a project", route={"upstream": f"{REST}/PROJORDERS/1.0/"}
    ),
    "project-url": PlayableMistake(
        "a project's path under /v1/", route={"upstream": f"{REST}/project/DEMO/PROJORDERS/1.0/"}
    ),
    "wrong-version": PlayableMistake("another major version", route={"upstream": f"{REST}/ORDERS/2.0/"}),
    "wrong-version/console": PlayableMistake(
        "the version in the form of the console", route={"upstream": f"{REST}/ORDERS/01.00.0000/"}
    ),
    "version-missing": PlayableMistake("the version is left out", route={"upstream": f"{REST}/ORDERS/"}),
    "developer-host": PlayableMistake(
        "the developer API on the runtime host, which redirects", credential=_API, route={"upstream": DEVELOPER}
    ),
    "developer-instance": PlayableMistake(
        "the developer API without `integrationInstance`",
        credential=_API,
        route={"upstream": DEVELOPER, "design": "{design}"},
    ),
    "console-url": PlayableMistake(
        "an address of the console, which requires a sign-in", route={"upstream": "{origin}/ic/home/"}
    ),
    "redirected": PlayableMistake(
        "the instance has moved", {"fault_status": 301, "fault_location": "https://moved.sandbox.invalid/ic/"}
    ),
    "limited-upstream": PlayableMistake("the instance answers 429", {"fault_status": 429}),
    "upstream-failing": PlayableMistake("the instance answers 503, and no flow has run", {"fault_status": 503}),
    "upstream-timeout": PlayableMistake(
        "no response in time", {"reply_delay": 30.0}, route={"timeout": {"response": "500ms"}}
    ),
    "upstream-broken": PlayableMistake("the response ends before its head", {"cut_replies": True}),
}
