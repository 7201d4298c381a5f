"""The pages of the console that screenshots and checks in a browser visit, by name: the path below `/console/`."""

PAGES = {
    "overview": "",
    "credential": "credentials/orders-app",
    "credential-sign-in": "credentials/finance-clerk",
    "routes": "routes",
    "route": "routes/orders",
    "service": "services/acme",
    "route-down": "routes/archive",
    "calls": "calls",
    "call": "calls/fc0e2b9b84513fa0dbcf054132fed723",
    "callers": "callers",
    "usage": "usage",
    "configuration": "configuration",
    "audit": "audit",
    "missing": "routes/unknown",
}
NAMES = tuple(PAGES)
