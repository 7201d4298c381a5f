"""One credential: the state and the claims of its token, its last token requests, and its actions."""

from gateway.console.page import Page, PageRequest
from gateway.console.pages.configuration_page import block_settings
from gateway.console.pages.missing_page import missing_page
from gateway.console.view_overview import PartState, credential_card, part_states, route_rows
from gateway.console.view_state import state_label

_FETCH_STATES = {
    "ok": state_label("ok", "OK"),
    "refused": state_label("bad", "Refused"),
    "unavailable": state_label("warn", "No answer"),
}
_TRIGGERS = {
    "caller": "a caller needed it",
    "renewal": "renewed ahead of time",
    "rejected": "OIC rejected the last one",
    "prefetch": "start of the gateway",
    "forced": "a person asked for it",
    "idle": "renewed while idle",
}
_GRANTS = {
    "client_credentials": "Client credentials: the token is for the application itself",
    "authorization_code": "Authorization code: a person signs in once, the gateway renews",
    "refresh_token": "Refresh token: from a sign-in elsewhere",
    "password": "Password: the token is for a user",
    "jwt_bearer": "User assertion, signed by the gateway",
    "tls_client_auth": "TLS client certificate",
}


async def show_credential(request: PageRequest) -> Page:
    """Return the page of the credential that the path names."""
    name = request.path[1]
    status = await request.backend.status()
    if name not in status["credentials"]:
        return missing_page("credential", name, "Overview")
    settings = block_settings(await request.backend.configuration(), f"credentials.{name}")
    grant = str(settings.get("grant", "client_credentials"))
    store: PartState | None = next((part for part in part_states(status) if part.name == "Token store"), None)
    values = {
        "title": name,
        "section": "Overview",
        "card": credential_card(status, name, now=request.now),
        "grant": _GRANTS.get(grant, grant),
        "is_sign_in": grant == "authorization_code",
        "claims": await request.backend.credential_claims(name),
        "fetches": await request.backend.token_fetches(name),
        "fetch_states": _FETCH_STATES,
        "triggers": _TRIGGERS,
        "routes": [row for row in route_rows(status) if row.credential == name],
        "store": store,
    }
    return Page("credential.html", values)
