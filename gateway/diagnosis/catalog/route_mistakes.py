"""Mistakes that show in what an upstream answers, and those of a check itself."""

from gateway.diagnosis.catalog.entry import INSTANCE, NETWORK, OAUTH, RESOURCES, ROLES, CatalogEntry

ROUTES = {
    "role-missing": CatalogEntry(
        "OIC answers 401 to a fresh token for the right resource, or 403",
        "The token is good, but the application has no role on this instance that allows the call.",
        f"{ROLES} → ServiceInvoker (triggers), ServiceUser or ServiceDeveloper (developer API) → Assigned "
        "applications → Manage: assign the application; then get a new token.",
    ),
    "other-instance": CatalogEntry(
        "OIC answers 401 and says that the token is not valid for it, or the regions of scope and upstream differ",
        "The scope is of another instance: each has its own primary audience.",
        f"Compare the part of the scope before `urn` with the Primary audience of {INSTANCE} → OAuth configuration, "
        f"for the instance that `upstream` leads to; add its scope under {OAUTH} → {RESOURCES}.",
    ),
    "scope-kind": CatalogEntry(
        "OIC answers 401, and the scope is for the other kind of call",
        "Triggers need `urn:opc:resource:consumer::all`, the developer API needs `/ic/api/`: a token for one does "
        "not open the other.",
        f"Make a credential with the scope that the route needs; both stand in the Resources list in {OAUTH}.",
    ),
    "refused": CatalogEntry(
        "the upstream answers 401 or 403, and it is no URL of OIC's triggers or developer API",
        "Whoever answers does not take the token.",
        "Compare `upstream` with the endpoint URL that the console shows, and look at what stands before the instance.",
    ),
    "role-or-allow-list": CatalogEntry(
        "OIC answers 403 to a caller's request, at run time",
        "One of two: the application has no role on this instance that allows the call; or the instance's allow-list "
        "does not hold the address that this host's calls come from; who is not let in gets 403 without a token, too.",
        "`oic-gateway check --live` asks once more without a token, and tells which. The role: "
        f"{ROLES} → ServiceInvoker (triggers), ServiceUser or ServiceDeveloper (developer API). The allow-list: "
        f"{NETWORK}.",
    ),
    "allow-list": CatalogEntry(
        "OIC answers 403 with or without a token, or hangs up without an answer",
        "The instance's allow-list does not hold the address that this host's calls come from.",
        f"{NETWORK}: while Restrict network access is selected, add this host's egress address (or its VCN) as a rule.",
    ),
    "not-found": CatalogEntry(
        "OIC answers 404",
        "No active integration has this URL: it is not activated, its code or version is another, or it lives in a "
        "project and has a project's URL.",
        "Open the integration in OIC and compare `upstream` with the Endpoint URL of its details (Run, or View "
        "details), letter by letter, less `/metadata`; see that it is Active.",
    ),
    "version-missing": CatalogEntry(
        "OIC answers 404, and the URL ends with the integration's code",
        "URLs of triggers hold the integration's version behind its code: …/CODE/1.0/. Without it nothing is there, "
        "unless each caller writes the version.",
        "Write the version behind the code in `upstream`, such as 1.0, as the integration's Endpoint URL shows it.",
    ),
    "unknown-url": CatalogEntry(
        "an upstream of which nothing is known answers 404 to `OPTIONS`",
        "That proves only that the way is open, not that anything is there: a broad upstream such as /ic/ answers so, "
        "and a misspelt one, too.",
        "Nothing, if callers write the rest of the path; else compare `upstream` with the Endpoint URL of the "
        "integration's details in OIC, letter by letter.",
    ),
    "wrong-version": CatalogEntry(
        "OIC answers 404 for this version, or the version is not written as MAJOR.MINOR",
        "URLs hold the integration's major version, as in 1.0; another one answers, or this form is none of a URL's.",
        "Write the version that the integration's Endpoint URL shows, such as 1.0; see that this version is Active.",
    ),
    "classic-url": CatalogEntry(
        "OIC answers 404 to an URL without a project",
        "Most likely the integration lives in a project, whose integrations answer only under "
        "/v2/…/project/PROJECT/; or it is not activated.",
        "Open the project in OIC, and copy the integration's Endpoint URL: "
        "/ic/api/integration/v2/flows/rest/project/PROJECT/CODE/1.0/; see that it is Active.",
    ),
    "project-url": CatalogEntry(
        "OIC answers 404, and the URL mixes both forms: `/v1/` with a project, or `/v2/` without one",
        "A project's integrations are under /v2/flows/rest/project/PROJECT/, all others under /v1/flows/rest/.",
        "Copy the Endpoint URL from the integration's details in OIC.",
    ),
    "developer-host": CatalogEntry(
        "the developer API answers 307 to the design host",
        "The upstream is the runtime host; the developer API lives on the region's design host.",
        "Set `upstream` to https://design.integration.REGION.ocp.oraclecloud.com/ic/api/integration/v1/ and `query: "
        "{set: {integrationInstance: NAME-OF-THE-INSTANCE}}` on the route.",
    ),
    "developer-instance": CatalogEntry(
        "the developer API is called without `integrationInstance`",
        "The design host serves all instances of a region, and must be told which one is meant.",
        "Set `query: {set: {integrationInstance: NAME-OF-THE-INSTANCE}}` on the route: the first part of the runtime "
        "host's name.",
    ),
    "console-url": CatalogEntry(
        "the upstream answers with a redirect to a sign-in page",
        "`upstream` is an address of the console or of a page, not of an integration's endpoint.",
        "Copy the Endpoint URL from the integration's details in OIC; it has /flows/rest/ or /flows/soap/ in it.",
    ),
    "redirected": CatalogEntry(
        "the upstream answers with a redirect to elsewhere",
        "The host, the scheme or the path has moved; callers get the redirect as it is.",
        "Set `upstream` to where it leads, if that is the instance.",
    ),
    "media-type": CatalogEntry(
        "OIC answers 415",
        "The trigger takes another Content-Type than the caller's.",
        "Have the caller send the media type that the trigger's configuration says, mostly application/json.",
    ),
    "limited-upstream": CatalogEntry(
        "OIC answers 429",
        "More calls than the instance takes, or its identity domain's limit of token checks is reached.",
        "Call less often, or look at the instance's message packs and the identity domain's limits (a Free domain "
        "takes 150 a minute).",
    ),
    "upstream-failing": CatalogEntry(
        "OIC answers 5xx without an instance id",
        "The instance, or something before it, is in trouble; no flow has run.",
        "Look at the instance's state in Developer Services → Integration, and try again.",
    ),
    "upstream-timeout": CatalogEntry(
        "no reply in time",
        "The request was sent, and its outcome is unknown.",
        "Look for the run in OIC's Observability → Instances before trying again; raise `timeout.response` if runs "
        "take longer.",
    ),
    "upstream-broken": CatalogEntry(
        "the reply is malformed or ends too soon",
        "Something on the way cuts the connection or is no HTTP server; a hang-up before any reply may be the "
        "instance's allow-list.",
        f"Look at what stands between here and OIC, and at the allow-list ({NETWORK}).",
    ),
}

CHECKS = {
    "configuration": CatalogEntry(
        "the configuration cannot be used",
        "A key of the file, or what it points to, is wrong.",
        "Mend what is named; `oic-gateway check` names every place with its line.",
    ),
    "state": CatalogEntry(
        "the store of `state` cannot be read and written",
        "Without it the gateway goes on by itself: tokens are not shared, sign-ins not kept.",
        "Mend what is named; docs/token-store.md lists what the store needs.",
    ),
    "out-of-time": CatalogEntry(
        "the check took too long",
        "Something answers, but slowly; the rest was not waited for.",
        "Try again, or look at the way from this host.",
    ),
    "not-tried": CatalogEntry(
        "a step was left out",
        "What it needs has failed.",
        "Mend the other finding first.",
    ),
}
