"""Refusals: the error replies of the token endpoint, raised where something is found wrong. Pure."""


class Refused(Exception):
    """An error reply of the token endpoint (RFC 6749 section 5.2): `error`, description and HTTP status."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


def invalid_client() -> Refused:
    """The one refusal whose words are known verbatim."""
    return Refused("invalid_client", "Client authentication failed", status=401)


def unauthorized_client(description: str) -> Refused:
    """The grant is not ticked in the application: 401 and not the 400 of RFC 6749 section 5.2, as IDCS does [U]."""
    return Refused("unauthorized_client", description, status=401)


def invalid_grant(description: str) -> Refused:
    """The code, the assertion, the user's password or the refresh token does not hold."""
    return Refused("invalid_grant", description)
