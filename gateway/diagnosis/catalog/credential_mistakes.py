"""Mistakes that show when a token is asked for, or in the token."""

from gateway.diagnosis.catalog.entry import APPLICATION, INSTANCE, OAUTH, RESOURCES, ROLES, CatalogEntry

CREDENTIALS = {
    "invalid_client": CatalogEntry(
        "the token endpoint answers `invalid_client`",
        "The identity domain does not take this client with this proof: the secret is wrong or was regenerated, the "
        "application is not activated, the client id is of another application, `token_url` of another identity "
        "domain, or Client type is not Confidential.",
        f"Compare client id and secret with Client ID and Client secret (Show secret) in {APPLICATION} → General "
        "Information; choose Activate if the application is not active; see that Client type is Confidential, and "
        "that `token_url` begins with the Domain URL of the domain's Details.",
    ),
    "secret-blank": CatalogEntry(
        "`invalid_client`, and the configured secret has white space, a newline or quotes around it",
        "The secret was most likely pasted with something around it; one newline at a file's end is no matter, "
        "anything more is sent as a part of the secret.",
        "Write the secret alone, as by `printf %s`, without blanks, newlines or quotes; copy it anew by Show secret "
        f"in {APPLICATION} → General Information.",
    ),
    "client-id-shape": CatalogEntry(
        "`invalid_client`, and the configured client id has white space in it, is a URL or is the secret",
        "What is configured is not the Client ID: those are a single word.",
        f"Copy Client ID from {APPLICATION} → General Information.",
    ),
    "client-key": CatalogEntry(
        "`invalid_client` for a signed assertion or a client certificate",
        "The identity domain does not know the key: its certificate is not imported under this alias, `kid` or `x5t` "
        "names another one, the assertion's audience is another, or the application is not activated.",
        f"Import the certificate under {OAUTH} → Client type → Trusted, with the alias that `kid` says; choose "
        "Activate if the application is not active.",
    ),
    "unauthorized_client": CatalogEntry(
        "the token endpoint answers `unauthorized_client`",
        "The identity domain knows the application, which may not use this grant: it is not ticked.",
        f"Tick the credential's grant under Allowed grant types in {OAUTH}: for `grant: client_credentials` it is "
        "Client credentials; submit, and see that the application is activated.",
    ),
    "unsupported_grant_type": CatalogEntry(
        "the token endpoint answers `unsupported_grant_type`",
        "Whoever answers does not know the grant, or `token_url` leads to something other than the token endpoint.",
        f"Tick the credential's grant under Allowed grant types in {OAUTH}; see that `token_url` ends in "
        "/oauth2/v1/token.",
    ),
    "invalid_scope": CatalogEntry(
        "the token endpoint answers `invalid_scope`",
        "The scope is none that this application may ask for: it is of another instance or identity domain, is not "
        "among the application's resources, or is misspelt.",
        f"Copy the scope from the Resources list in {OAUTH} → {RESOURCES}: the primary audience of the right "
        "instance, then `urn:opc:resource:consumer::all` without a slash before `urn`, one resource only.",
    ),
    "scope-slash": CatalogEntry(
        "the scope has a slash before `urn:opc:resource:`",
        "Scopes are the primary audience and the resource's word written together; with a slash between them it is "
        "another scope, which nobody knows.",
        "Take the slash out: …:443urn:opc:resource:consumer::all, without a slash before `urn`. The Scope column of "
        f"the Resources list in {OAUTH} shows it as it must be.",
    ),
    "scope-several": CatalogEntry(
        "the scope names several resources at once",
        "A token is for one resource; several in one request are refused, or answered with one token each.",
        "Make one credential per resource: `urn:opc:resource:consumer::all` for triggers, `/ic/api/` for the "
        "developer API; routes name the one that they need.",
    ),
    "scope-form": CatalogEntry(
        "`invalid_scope`, and the scope has no form that OIC's scopes have",
        "OIC's scopes are https://HASH.integration.REGION.ocp.oraclecloud.com:443 with "
        "`urn:opc:resource:consumer::all` or `/ic/api/` right behind; HASH is the instance's primary audience, not "
        "its host name.",
        f"Copy the scope from the Resources list in {OAUTH}; the part before `urn` is the Primary audience of "
        f"{INSTANCE} → OAuth configuration.",
    ),
    "several-resources": CatalogEntry(
        "the answer holds one token per resource",
        "The scope asks for several resources with `urn:opc:resource:multiresourcescope`, and none is said to be "
        "meant.",
        "Ask for one resource per credential, leaving `urn:opc:resource:multiresourcescope` out, or say in "
        "`resource` which of them is meant.",
    ),
    "invalid_target": CatalogEntry(
        "the token endpoint answers `invalid_target`",
        "The identity domain knows no such resource (RFC 8707).",
        f"Compare the audience or resource parameter with the Primary audience of {INSTANCE} → OAuth configuration.",
    ),
    "invalid_grant": CatalogEntry(
        "the token endpoint answers `invalid_grant`",
        "What proves the user does not hold: the password, refresh token, code or assertion is wrong, used up or "
        "expired, by the identity domain's clock.",
        "See that the application is activated, that the user, password, refresh token or key of the assertion still "
        "holds, and that this machine's clock is right.",
    ),
    "sign-in": CatalogEntry(
        "nobody has signed in for the credential, or the sign-in has ended",
        "A person must sign in once; from then on it goes on unattended.",
        "Run `oic-gateway login NAME` with the gateway's configuration; it goes on by itself then.",
    ),
    "invalid_request": CatalogEntry(
        "the token endpoint answers `invalid_request`",
        "It misses a parameter, has one too many, or the client proves itself in a way that it does not take.",
        "Compare `client_auth`, `scope` and `params` with what the identity domain expects.",
    ),
    "access_denied": CatalogEntry(
        "the identity domain answers `access_denied`",
        "A policy of the identity domain, or the person who signed in, refuses.",
        f"Grant the application the role ServiceInvoker (triggers) or ServiceDeveloper (developer API) in {ROLES}, "
        "and look at the identity domain's sign-on and network policies.",
    ),
    "limited": CatalogEntry(
        "the token endpoint answers 429",
        "More token requests than the identity domain's limit: a Free domain takes 150 a minute and 10 a second, "
        "from all of its clients together.",
        "Fewer token requests: share a credential between routes, and tokens between processes (`state`); look at "
        "the identity domain's limits (a Free domain takes 150 a minute) and its Domain type.",
    ),
    "budget": CatalogEntry(
        "the gateway holds a token request back",
        "Its own `budget`, made to stay below the identity domain's limits, is used up.",
        "Fewer token requests: share a credential between routes; raise `budget` where the identity domain's limits "
        "allow it.",
    ),
    "redirect": CatalogEntry(
        "the token endpoint answers with a redirect",
        "`token_url` is not the identity domain's own address: http for https, an old name, or a sign-in page.",
        "Set `token_url` to the identity domain's own address; a redirect is never followed with a secret.",
    ),
    "token-url": CatalogEntry(
        "the identity domain says that its token endpoint is elsewhere",
        "`token_url` leads to the right host, but not to its token endpoint.",
        "Set `token_url` to the `token_endpoint` that the identity domain's /.well-known/openid-configuration says; "
        "it ends in /oauth2/v1/token.",
    ),
    "unreadable": CatalogEntry(
        "what answers at the token endpoint is no OAuth answer",
        "Something else answers in its place: a wrong path, a sign-in page, a proxy or a firewall.",
        "See that `token_url` ends in /oauth2/v1/token and that no proxy or firewall answers in its place.",
    ),
    "domain-failing": CatalogEntry(
        "the token endpoint answers 5xx, or an error that OAuth does not know",
        "The identity domain is in trouble, or something before it.",
        "Nothing here: it is tried again with growing pauses. Look at Oracle's status page for the region.",
    ),
    "token-type": CatalogEntry(
        "the token is no Bearer token",
        "The application asks for proof-of-possession or another kind that OIC's triggers do not take.",
        f"See in {OAUTH} that nothing but bearer tokens is asked for.",
    ),
    "short-lived": CatalogEntry(
        "the token is dead when it arrives, or lives for less than a minute",
        "The resource's Access token expiration, or `urn:opc:resource:expiry` in the scope, is very short.",
        "Ask the identity domain for a longer life; see that `urn:opc:resource:expiry` is not too short, and look at "
        f"Access token expiration in {INSTANCE} → OAuth configuration.",
    ),
    "audience-other": CatalogEntry(
        "the token's audience is not the resource that the scope names",
        "OIC answers 401: the token opens another instance, or none.",
        f"Copy the scope anew from the Resources list in {OAUTH}.",
    ),
    "client-other": CatalogEntry(
        "the token says another client than the configured one",
        "Something between here and the identity domain changes the request, or `params` does.",
        "Compare `token_url`, `client_id` and `params` with the application's General Information.",
    ),
    "clock-skew": CatalogEntry(
        "this machine's clock and the identity domain's differ by more than a minute",
        "Signed assertions are refused as not yet valid or expired, certificates may seem so, and tokens to live "
        "longer or shorter than they do.",
        "Set this machine's clock by NTP (`timedatectl`, `chronyc tracking`); in a container it is the host's.",
    ),
    "store": CatalogEntry(
        "the store of `state` does not answer",
        "Tokens are not shared, and a refresh token may not be used: its successor could be lost.",
        "Bring back the store that `state` names; a refresh token is used only where its successor can be kept.",
    ),
    "superseded": CatalogEntry(
        "another has renewed the refresh token meanwhile",
        "The refresh token that was used is not the newest one.",
        "Nothing: the new one is used. If it goes on, see that no other gateway uses the same refresh token.",
    ),
    "turn": CatalogEntry(
        "another process fetches the token",
        "Its turn came while this one was held up.",
        "Nothing: it is tried again. If it goes on, see what keeps this process from running.",
    ),
    "secret": CatalogEntry(
        "the secret or key cannot be read",
        "The file, the variable or the Vault that the credential refers to gives nothing usable.",
        "Mend the secret or key that the credential refers to; it is read anew at the next try.",
    ),
    "certificate": CatalogEntry(
        "the files of `tls` cannot be used",
        "A certificate or key is missing, unreadable, not PEM, or they do not belong together.",
        "Mend the files that `tls` names; they are read anew at the next try.",
    ),
    "waiting": CatalogEntry(
        "no token within `token_wait`",
        "The identity domain is slow, or the way to it is.",
        "See that the way to the identity domain is open; raise `token_wait` and `timeout` if it is only slow.",
    ),
    "url": CatalogEntry(
        "`token_url` is not a usable URL",
        "It has no host, or a scheme other than http and https.",
        "Set `token_url` to the Domain URL of the domain's Details, with /oauth2/v1/token behind it.",
    ),
    "request": CatalogEntry(
        "the token request cannot be sent",
        "One of its values cannot stand in a header or a form.",
        "Look at `client_id`, `params` and the secret for control characters.",
    ),
}
