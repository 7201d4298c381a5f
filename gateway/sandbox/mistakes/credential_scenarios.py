"""Mistakes with the application, its client, grant and proof, and with what the token endpoint answers."""

from gateway.sandbox.clients import DEFAULT_SECRET, DEFAULT_USER
from gateway.sandbox.mistakes.scenario_row import PlayableMistake
from gateway.sandbox.scope_check import OTHER_AUDIENCE

_STATE = {"state": {"path": "{folder}/state.db", "keys": [{"file": "{folder}/state-key"}]}}
_STATE_KEY = {"state-key": "0123456789abcdef" * 4}
_NO_STORE = {"state": {"redis": {"url": "redis://{closed}/0"}, "keys": [{"file": "{folder}/state-key"}]}}

CREDENTIALS = {
    "invalid_client": PlayableMistake("the secret is wrong", secret=DEFAULT_SECRET[::-1]),
    "invalid_client/inactive": PlayableMistake("the application is not activated", {"application": "inactive"}),
    "invalid_client/unknown": PlayableMistake(
        "the client id belongs to no application", credential={"client_id": "nobody"}
    ),
    "secret-blank": PlayableMistake("the secret has a blank at its end", secret=f"{DEFAULT_SECRET} "),
    "secret-blank/newline": PlayableMistake("the secret has two newlines at its end", secret=f"{DEFAULT_SECRET}\n\n"),
    "secret-blank/quotes": PlayableMistake("the secret is in quotes", secret=f'"{DEFAULT_SECRET}"'),
    "client-id-shape": PlayableMistake(
        "the client id is a URL", credential={"client_id": "https://idcs-5a0db0c5.identity.oraclecloud.com/"}
    ),
    "client-key": PlayableMistake(
        "an assertion signed with a key whose certificate is not imported",
        credential={
            "client_secret": None,
            "client_auth": "private_key_jwt",
            "signing": {"private_key": {"file": "{folder}/client-key.pem"}, "kid": "not-imported"},
        },
        files={"client-key.pem": ""},
    ),
    "unauthorized_client": PlayableMistake("the grant is not ticked", {"allowed_grants": ("authorization_code",)}),
    "unsupported_grant_type": PlayableMistake(
        "the server does not know the grant", {"token_fault": "unsupported_grant_type"}
    ),
    "invalid_grant": PlayableMistake(
        "the user's password is wrong",
        credential={"grant": "password", "username": DEFAULT_USER, "password": {"file": "{folder}/password"}},
        files={"password": "not-the-password"},
    ),
    "invalid_grant/refresh": PlayableMistake(
        "the refresh token is used up",
        credential={"grant": "refresh_token", "refresh_token": {"file": "{folder}/refresh-token"}},
        file=_STATE,
        files={**_STATE_KEY, "refresh-token": "used-up"},
    ),
    "sign-in": PlayableMistake(
        "a person must sign in and has not",
        credential={"grant": "authorization_code"},
        file=_STATE,
        files=_STATE_KEY,
    ),
    "invalid_request": PlayableMistake("the token request lacks a parameter", {"token_fault": "400"}),
    "invalid_target": PlayableMistake("the resource is unknown", {"token_fault": "invalid_target"}),
    "access_denied": PlayableMistake("a policy of the identity domain refuses", {"token_fault": "access_denied"}),
    "limited": PlayableMistake("the 150 tokens a minute of a Free domain are used up", {"token_budget_per_minute": 0}),
    "redirect": PlayableMistake("the token endpoint redirects to a sign-in page", {"token_fault": "redirect"}),
    "token-url": PlayableMistake(
        "`token_url` is another path of the identity domain", credential={"token_url": "{origin}/oauth/token"}
    ),
    "unreadable": PlayableMistake("a sign-in page answers in place of the token endpoint", {"token_fault": "html"}),
    "domain-failing": PlayableMistake("the identity domain answers 503", {"token_fault": "503"}),
    "token-type": PlayableMistake(
        "the token is for proof of possession, not a Bearer token", {"token_fault": "token-type"}
    ),
    "short-lived": PlayableMistake("tokens live for 20 seconds", {"token_lifetime": 20}),
    "audience-other": PlayableMistake(
        "the token's audience is another instance",
        {"token_audience": OTHER_AUDIENCE},
        follows=("other-instance",),
    ),
    "client-other": PlayableMistake(
        "the token is another client's", {"token_client": "another-app"}, follows=("role-missing",)
    ),
    "clock-skew": PlayableMistake("this machine's clock is ten minutes behind", {"clock_offset": 600.0}),
    "clock-skew/ahead": PlayableMistake("this machine's clock is ten minutes ahead", {"clock_offset": -600.0}),
    "state": PlayableMistake("the store of `state` does not exist", file=_NO_STORE, files=_STATE_KEY),
    "store": PlayableMistake(
        "a refresh token without a store: its successor could be lost",
        credential={"grant": "refresh_token", "refresh_token": {"file": "{folder}/refresh-token"}},
        file=_NO_STORE,
        files={**_STATE_KEY, "refresh-token": "any"},
        follows=("state",),
    ),
    "configuration": PlayableMistake("a key of the file is misspelt", file={"lisen": "127.0.0.1:8080"}),
    "configuration/secret": PlayableMistake(
        "the secret is in a variable that is not set", credential={"client_secret": {"env": "OIC_SANDBOX_NO_SECRET"}}
    ),
    "configuration/certificate": PlayableMistake(
        "the file of `tls.ca` is not a certificate",
        {"certificate": "trusted"},
        credential={"tls": {"ca": "{folder}/no-certificate.pem"}},
        files={"no-certificate.pem": "not PEM\n"},
    ),
    "waiting": PlayableMistake(
        "the identity domain is slower than `token_wait`", {"token_delay": 30.0}, credential={"token_wait": "500ms"}
    ),
}
