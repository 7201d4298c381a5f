"""Error responses of the token endpoint, raised where the error is found. Pure."""


class OAuthRefusal(Exception):
    """An error response of the token endpoint (RFC 6749 section 5.2): `error`, description and HTTP status."""

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(error)
        self.error = error
        self.description = description
        self.status = status


def invalid_client() -> OAuthRefusal:
    """Return the only refusal whose text is known verbatim."""
    return OAuthRefusal("invalid_client", "Client authentication failed", status=401)


def unauthorized_client(description: str) -> OAuthRefusal:
    """Return the refusal of a grant that is not enabled: 401, not the 400 of RFC 6749 section 5.2, as IDCS [U]."""
    return OAuthRefusal("unauthorized_client", description, status=401)


def invalid_grant(description: str) -> OAuthRefusal:
    """Return the refusal of a code, assertion, user password or refresh token."""
    return OAuthRefusal("invalid_grant", description)
