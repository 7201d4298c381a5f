"""Mistakes that appear in a token request, its response or the token."""

from gateway.diagnosis.catalog.entry import APPLICATION, INSTANCE, OAUTH, RESOURCES, ROLES, CatalogEntry

CREDENTIALS = {
    "invalid_client": CatalogEntry(
        "the token endpoint answers `invalid_client`",
        "The identity domain does not accept this client. The secret is wrong or was regenerated, the application "
        "is not activated, the client id or `token_url` belongs to something else, or Client type is not "
        "Confidential.",
        f"Compare client id and secret with Client ID and Client secret (Show secret) in {APPLICATION} → General "
        "Information; choose Activate if the application is not active; check that Client type is Confidential, "
        "and that `token_url` begins with the Domain URL of the domain's Details.",
    ),
    "secret-blank": CatalogEntry(
        "`invalid_client`, and the configured secret has white space, a newline or quotes around it",
        "The secret was probably pasted with extra characters. One newline at the end of a file is ignored; "
        "anything more is sent as part of the secret.",
        "Write only the secret, for example with `printf %s`, without blanks, newlines or quotes; copy it again "
        f"with Show secret in {APPLICATION} → General Information.",
    ),
    "client-id-shape": CatalogEntry(
        "`invalid_client`, and the configured client id contains white space, is a URL or equals the secret",
        "The configured value is not the Client ID. A Client ID is a single word.",
        f"Copy Client ID from {APPLICATION} → General Information.",
    ),
    "client-key": CatalogEntry(
        "`invalid_client` for a signed assertion or a client certificate",
        "The identity domain does not know the key. Its certificate is not imported under this alias, `kid` or "
        "`x5t` names another certificate, the audience of the assertion is wrong, or the application is not "
        "activated.",
        f"Import the certificate under {OAUTH} → Client type → Trusted, with the value of `kid` as its alias; "
        "choose Activate if the application is not active.",
    ),
    "unauthorized_client": CatalogEntry(
        "the token endpoint answers `unauthorized_client`",
        "The identity domain knows the application, but this grant is not enabled for it.",
        f"Tick the credential's grant under Allowed grant types in {OAUTH}: for `grant: client_credentials` it is "
        "Client credentials; submit, and check that the application is activated.",
    ),
    "unsupported_grant_type": CatalogEntry(
        "the token endpoint answers `unsupported_grant_type`",
        "The server does not know the grant, or `token_url` is not the token endpoint.",
        f"Tick the credential's grant under Allowed grant types in {OAUTH}; check that `token_url` ends in "
        "/oauth2/v1/token.",
    ),
    "invalid_scope": CatalogEntry(
        "the token endpoint answers `invalid_scope`",
        "The application may not request this scope. It belongs to another instance or identity domain, is not "
        "among the application's resources, or is misspelt.",
        f"Copy the scope from the Resources list in {OAUTH} → {RESOURCES}: the primary audience of the right "
        "instance, then `urn:opc:resource:consumer::all` without a slash before `urn`, one resource only.",
    ),
    "scope-slash": CatalogEntry(
        "the scope has a slash before `urn:opc:resource:`",
        "A scope is the primary audience followed directly by the resource's name. With a slash between them it is "
        "another, unknown scope.",
        "Remove the slash: …:443urn:opc:resource:consumer::all, without a slash before `urn`. The Scope column of "
        f"the Resources list in {OAUTH} shows the correct scope.",
    ),
    "scope-several": CatalogEntry(
        "the scope contains several resources",
        "A token is valid for one resource. A request for several is refused, or answered with one token for each.",
        "Create one credential per resource: `urn:opc:resource:consumer::all` for triggers, `/ic/api/` for the "
        "developer API; each route names the one that it needs.",
    ),
    "scope-form": CatalogEntry(
        "`invalid_scope`, and the scope does not have the form of OIC's scopes",
        "OIC's scopes are https://HASH.integration.REGION.ocp.oraclecloud.com:443 followed directly by "
        "`urn:opc:resource:consumer::all` or `/ic/api/`. HASH is the instance's primary audience, not its host "
        "name.",
        f"Copy the scope from the Resources list in {OAUTH}; the part before `urn` is the Primary audience of "
        f"{INSTANCE} → OAuth configuration.",
    ),
    "several-resources": CatalogEntry(
        "the response contains one token per resource",
        "The scope requests several resources with `urn:opc:resource:multiresourcescope`, and the configuration "
        "does not select one.",
        "Request one resource per credential: remove `urn:opc:resource:multiresourcescope`, or select one with "
        "`resource`.",
    ),
    "invalid_target": CatalogEntry(
        "the token endpoint answers `invalid_target`",
        "The identity domain does not know this resource (RFC 8707).",
        f"Compare the audience or resource parameter with the Primary audience of {INSTANCE} → OAuth configuration.",
    ),
    "invalid_grant": CatalogEntry(
        "the token endpoint answers `invalid_grant`",
        "The proof of the user is not valid: the password, refresh token, code or assertion is wrong, already "
        "used, or expired by the identity domain's clock.",
        "Check that the application is activated, that the user, password, refresh token or key of the assertion "
        "is still valid, and that this machine's clock is right.",
    ),
    "sign-in": CatalogEntry(
        "no person has signed in for the credential, or the sign-in has ended",
        "A person must sign in once. After that the gateway renews tokens without a person.",
        "Run `oic-gateway login NAME` with the gateway's configuration; a running gateway then continues by itself.",
    ),
    "invalid_request": CatalogEntry(
        "the token endpoint answers `invalid_request`",
        "The request lacks a parameter, has one too many, or uses a client authentication that the server does not "
        "accept.",
        "Compare `client_auth`, `scope` and `params` with what the identity domain expects.",
    ),
    "access_denied": CatalogEntry(
        "the identity domain answers `access_denied`",
        "A policy of the identity domain, or the person who signed in, refused access.",
        f"Grant the application the role ServiceInvoker (triggers) or ServiceDeveloper (developer API) in {ROLES}, "
        "and check the identity domain's sign-on and network policies.",
    ),
    "limited": CatalogEntry(
        "the token endpoint answers 429",
        "There were more token requests than the identity domain allows. A Free domain allows 150 a minute and 10 "
        "a second, for all of its clients together.",
        "Send fewer token requests: share a credential between routes, and tokens between processes (`state`); "
        "check the identity domain's limits (a Free domain allows 150 a minute) and its Domain type.",
    ),
    "budget": CatalogEntry(
        "the gateway delays a token request",
        "The gateway's own `budget` is used up. It keeps token requests below the identity domain's limits.",
        "Send fewer token requests: share a credential between routes; raise `budget` if the identity domain's "
        "limits allow it.",
    ),
    "redirect": CatalogEntry(
        "the token endpoint answers with a redirect",
        "`token_url` is not the identity domain's own address: it has http instead of https, is an old name, or is "
        "a sign-in page.",
        "Set `token_url` to the identity domain's own address; the gateway never follows a redirect with a secret.",
    ),
    "token-url": CatalogEntry(
        "the identity domain's discovery document names another token endpoint",
        "`token_url` has the right host, but not the path of its token endpoint.",
        "Set `token_url` to the `token_endpoint` in the identity domain's /.well-known/openid-configuration; it "
        "ends in /oauth2/v1/token.",
    ),
    "unreadable": CatalogEntry(
        "the response of the token endpoint is not an OAuth response",
        "Something else answers instead: a wrong path, a sign-in page, a proxy or a firewall.",
        "Check that `token_url` ends in /oauth2/v1/token and that no proxy or firewall answers in its place.",
    ),
    "domain-failing": CatalogEntry(
        "the token endpoint answers 5xx, or an error code that OAuth does not define",
        "The identity domain, or a system in front of it, has a problem.",
        "Nothing to do here: the gateway retries with growing pauses. Check Oracle's status page for the region.",
    ),
    "token-type": CatalogEntry(
        "the token is not a Bearer token",
        "The application requests proof-of-possession tokens or another kind that OIC's triggers do not accept.",
        f"Check in {OAUTH} that the application requests bearer tokens only.",
    ),
    "short-lived": CatalogEntry(
        "the token is expired when it arrives, or is valid for less than a minute",
        "The resource's Access token expiration, or `urn:opc:resource:expiry` in the scope, is very short.",
        f"Increase `urn:opc:resource:expiry` in the scope, or Access token expiration in {INSTANCE} → OAuth "
        "configuration.",
    ),
    "audience-other": CatalogEntry(
        "the token's audience is not the resource that the scope names",
        "OIC answers 401, because the token is for another instance or for none.",
        f"Copy the scope again from the Resources list in {OAUTH}.",
    ),
    "client-other": CatalogEntry(
        "the token contains another client id than the configured one",
        "Something between the gateway and the identity domain changes the request, or `params` does.",
        "Compare `token_url`, `client_id` and `params` with the application's General Information.",
    ),
    "clock-skew": CatalogEntry(
        "this machine's clock and the identity domain's differ by more than a minute",
        "Signed assertions are refused as not yet valid or expired. Certificates and tokens may also appear to be "
        "expired, or to live longer than they do.",
        "Set this machine's clock by NTP (`timedatectl`, `chronyc tracking`); in a container it is the host's.",
    ),
    "store": CatalogEntry(
        "the store of `state` does not respond, or the refresh token in it cannot be read",
        "The gateway uses no refresh token, because the new one could be lost, or another one is valid by now.",
        "Repair the store that `state` names. If the log contains `store-unreadable`, add the missing key to "
        "`state.keys`, or sign in again.",
    ),
    "superseded": CatalogEntry(
        "another process or gateway has already renewed the refresh token",
        "The gateway used a refresh token that is not the newest.",
        "Nothing to do: the gateway uses the new one. If this repeats, check that no other gateway uses the same "
        "refresh token.",
    ),
    "turn": CatalogEntry(
        "another process now requests the token",
        "This process held the lease for the token request, but was delayed until the lease ended.",
        "Nothing to do: the gateway retries. If this repeats, find out what keeps this process from running.",
    ),
    "secret": CatalogEntry(
        "the secret or key cannot be read",
        "The file, variable or vault of the credential does not contain a usable value.",
        "Correct the secret or key of the credential; the gateway reads it again at the next try.",
    ),
    "certificate": CatalogEntry(
        "the files of `tls` cannot be used",
        "A certificate or key is missing, unreadable or not PEM, or the two do not belong together.",
        "Correct the files that `tls` names; the gateway reads them again at the next try.",
    ),
    "waiting": CatalogEntry(
        "no token within `token_wait`",
        "The identity domain, or the network path to it, is slow.",
        "Check the network path to the identity domain; raise `token_wait` and `timeout` if it is only slow.",
    ),
    "url": CatalogEntry(
        "`token_url` is not a usable URL",
        "It has no host, or a scheme other than http and https.",
        "Set `token_url` to the Domain URL of the domain's Details, followed by /oauth2/v1/token.",
    ),
    "request": CatalogEntry(
        "the token request cannot be sent",
        "One of its values is not allowed in a header or a form.",
        "Check `client_id`, `params` and the secret for control characters.",
    ),
}
