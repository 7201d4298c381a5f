"""Members, keys and attributes whose value is a link, or an identifier that only looks like one; in lower case."""

# Members and attributes whose whole value may be a path: only names that promise a URL.
LINK_NAMES = frozenset(b"href url redirect-url location content-location self".split())
XML_LINK_NAMES = frozenset(b"location schemalocation href src".split())
HTML_LINK_NAMES = frozenset(b"href src action".split())

# OAuth endpoints in OpenAPI belong to the identity domain, whatever their URL (OpenAPI 3.0 §4.7.29, Swagger 2.0).
KEPT_NAMES = frozenset(b"tokenurl authorizationurl refreshurl openidconnecturl".split())
# Identifiers that only look like URLs (XML Names §3, WSDL 1.1 §2.1.1 and §3.4, WS-Addressing §3).
XML_KEPT_NAMES = frozenset(b"targetnamespace namespace soapaction action xmlns".split())
HTML_KEPT_NAMES = frozenset({b"xmlns"})
