"""Mistakes that appear in responses of an upstream, and findings about a check itself."""

from gateway.diagnosis.catalog.entry import INSTANCE, NETWORK, OAUTH, RESOURCES, ROLES, CatalogEntry

ROUTES = {
    "role-missing": CatalogEntry(
        "OIC answers 401 to a fresh token for the right resource, or 403",
        "The token is valid, but the application has no role on this instance that allows the call.",
        f"{ROLES} → ServiceInvoker (triggers), ServiceUser or ServiceDeveloper (developer API) → Assigned "
        "applications → Manage: assign the application; then get a new token.",
    ),
    "other-instance": CatalogEntry(
        "OIC answers 401 because the token is not valid for it, or the regions of scope and upstream differ",
        "The scope belongs to another instance: each has its own primary audience.",
        f"Compare the part of the scope before `urn` with the Primary audience of {INSTANCE} → OAuth configuration, "
        f"for the instance that `upstream` leads to; add its scope under {OAUTH} → {RESOURCES}.",
    ),
    "scope-kind": CatalogEntry(
        "OIC answers 401, and the scope is for the other kind of call",
        "Triggers need `urn:opc:resource:consumer::all`, the developer API needs `/ic/api/`. A token for one is "
        "not valid for the other.",
        f"Create a credential with the scope that the route needs; the Resources list in {OAUTH} shows both.",
    ),
    "refused": CatalogEntry(
        "the upstream answers 401 or 403, and it is not a URL of OIC's triggers or developer API",
        "The server rejected the token.",
        "Compare `upstream` with the endpoint URL that the console shows, and check which systems are in front of "
        "the instance.",
    ),
    "role-or-allow-list": CatalogEntry(
        "OIC answers 403 to a caller's request, at run time",
        "There are two possible causes. The application has no role on this instance that allows the call. Or the "
        "instance's allow-list does not contain this host's egress address; such a host gets 403 without a token, "
        "too.",
        "Run `oic-gateway check --live`: it repeats the request without a token and reports which cause it is. The "
        f"role: {ROLES} → ServiceInvoker (triggers), ServiceUser or ServiceDeveloper (developer API). The "
        f"allow-list: {NETWORK}.",
    ),
    "allow-list": CatalogEntry(
        "OIC answers 403 with and without a token, or closes the connection without a response",
        "The instance's allow-list does not contain this host's egress address.",
        f"{NETWORK}: while Restrict network access is selected, add this host's egress address (or its VCN) as a rule.",
    ),
    "not-found": CatalogEntry(
        "OIC answers 404",
        "No active integration has this URL. It is not activated, its code or version differs, or it belongs to a "
        "project and has a project's URL.",
        "Open the integration in OIC and compare `upstream` with the Endpoint URL of its details (Run, or View "
        "details), letter by letter, without `/metadata`; check that it is Active.",
    ),
    "version-missing": CatalogEntry(
        "OIC answers 404, and the URL ends with the integration's code",
        "URLs of triggers contain the integration's version after its code: …/CODE/1.0/. Without the version the "
        "URL does not exist, unless each caller adds it.",
        "Add the version after the code in `upstream`, such as 1.0, as in the integration's Endpoint URL.",
    ),
    "unknown-url": CatalogEntry(
        "an upstream of an unknown kind answers 404 to `OPTIONS`",
        "This proves only that the network path is open, not that the URL exists. A broad upstream such as /ic/ "
        "answers 404, and so does a misspelt one.",
        "Nothing to do if callers add the rest of the path; else compare `upstream` with the Endpoint URL of the "
        "integration's details in OIC, letter by letter.",
    ),
    "wrong-version": CatalogEntry(
        "OIC answers 404 for this version, or the version is not written as MAJOR.MINOR",
        "URLs hold the integration's major version, as in 1.0. This version does not exist, or is not written as "
        "in a URL.",
        "Use the version in the integration's Endpoint URL, such as 1.0; check that this version is Active.",
    ),
    "classic-url": CatalogEntry(
        "OIC answers 404 to a URL without a project",
        "The integration probably belongs to a project. Its URL then contains /v2/…/project/PROJECT/. Or it is not "
        "activated.",
        "Open the project in OIC, and copy the integration's Endpoint URL: "
        "/ic/api/integration/v2/flows/rest/project/PROJECT/CODE/1.0/; check that it is Active.",
    ),
    "project-url": CatalogEntry(
        "OIC answers 404, and the URL mixes both forms: `/v1/` with a project, or `/v2/` without one",
        "Integrations of a project are under /v2/flows/rest/project/PROJECT/, all others under /v1/flows/rest/.",
        "Copy the Endpoint URL from the integration's details in OIC.",
    ),
    "developer-host": CatalogEntry(
        "the developer API answers 307 to the design host",
        "The upstream is the runtime host. The developer API is on the region's design host.",
        "Set `upstream` to https://design.integration.REGION.ocp.oraclecloud.com/ic/api/integration/v1/ and `query: "
        "{set: {integrationInstance: NAME-OF-THE-INSTANCE}}` on the route.",
    ),
    "developer-instance": CatalogEntry(
        "the developer API is called without `integrationInstance`",
        "The design host serves all instances of a region. The request must name one of them.",
        "Set `query: {set: {integrationInstance: NAME-OF-THE-INSTANCE}}` on the route: the first part of the runtime "
        "host's name.",
    ),
    "console-url": CatalogEntry(
        "the upstream answers with a redirect to a sign-in page",
        "`upstream` is an address of the console or of a page, not of an integration's endpoint.",
        "Copy the Endpoint URL from the integration's details in OIC; it contains /flows/rest/ or /flows/soap/.",
    ),
    "redirected": CatalogEntry(
        "the upstream redirects to another place",
        "The host, the scheme or the path has changed. Callers receive the redirect unchanged.",
        "Set `upstream` to the new address, if it is that of the instance.",
    ),
    "media-type": CatalogEntry(
        "OIC answers 415",
        "The trigger expects another Content-Type than the caller's.",
        "Change the caller to send the media type of the trigger's configuration, usually application/json.",
    ),
    "limited-upstream": CatalogEntry(
        "OIC answers 429",
        "There are more calls than the instance's message packs allow: too many synchronous runs at once, or a full "
        "queue of asynchronous runs. Or the limit of token checks in its identity domain is reached.",
        "Call less often, or check the instance's message packs and the identity domain's limits (a Free domain "
        "allows 150 a minute). Set `packs` or `calls` of the service under `services`, so that calls wait in the "
        "gateway instead.",
    ),
    "upstream-failing": CatalogEntry(
        "OIC answers 5xx without an instance id",
        "The instance, or a system in front of it, has a problem. No flow has run.",
        "Check the instance's state in Developer Services → Integration, and try again.",
    ),
    "upstream-timeout": CatalogEntry(
        "no response in time",
        "The request was sent. Its outcome is unknown.",
        "Look for the run in OIC's Observability → Instances before trying again; raise `timeout.response` if runs "
        "take longer.",
    ),
    "upstream-broken": CatalogEntry(
        "the response is malformed or ends too soon",
        "Something between closes the connection or is not an HTTP server. If the connection closes before any "
        "response, the cause may be the instance's allow-list.",
        f"Check the systems between here and OIC, and the allow-list ({NETWORK}).",
    ),
}

CHECKS = {
    "configuration": CatalogEntry(
        "the configuration cannot be used",
        "A key of the file, or something that it refers to, is wrong.",
        "Correct the key; `oic-gateway check` lists every error with its line.",
    ),
    "state": CatalogEntry(
        "the store of `state` cannot be read or written",
        "The gateway continues with tokens in memory: tokens are not shared, sign-ins are not stored.",
        "Repair the store: a file needs a writable folder on a local disk, Redis must be reachable and its user needs "
        "GET, SET, DEL and EVAL.",
    ),
    "out-of-time": CatalogEntry(
        "the check took too long",
        "A server responds, but slowly. The check did not wait for the rest.",
        "Try again, or check the network path from this host.",
    ),
    "not-tried": CatalogEntry(
        "a step was skipped",
        "The step needs the result of another one, which failed.",
        "Correct the other finding first.",
    ),
}
