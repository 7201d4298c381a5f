"""The fields that limit what a browser does with a response of the console. Pure."""

_SOURCES = ("script-src", "style-src", "img-src", "connect-src", "form-action")
CONTENT_SECURITY_POLICY = "; ".join(
    ("default-src 'none'", *(f"{kind} 'self'" for kind in _SOURCES), "frame-ancestors 'none'", "base-uri 'none'")
)
SECURITY_HEADERS = {
    "Server": "oic-gateway",
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    # `no-referrer` would make browsers send `Origin: null` with a form (Fetch standard, "append a request Origin
    # header"), and the console requires its own origin.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""The fields of every response."""
