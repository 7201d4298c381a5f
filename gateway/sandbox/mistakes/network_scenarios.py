"""What fails on the way, before a byte of HTTP is said: name, port, egress proxy, TLS and its certificate."""

from gateway.sandbox.mistakes.scenario_row import PlayableMistake

NETWORK_MISTAKES = {
    "dns": PlayableMistake("the host name does not resolve", {"unknown_host": True}),
    "connect": PlayableMistake(
        "the port refuses",
        credential={"token_url": "http://{closed}/oauth2/v1/token"},
        route={"upstream": "http://{closed}/ic/api/integration/v1/flows/rest/ORDERS/1.0/"},
    ),
    "timeout": PlayableMistake(
        "the identity domain does not answer in time", {"token_delay": 30.0}, credential={"timeout": "500ms"}
    ),
    "network": PlayableMistake("the connection to the identity domain breaks", {"token_fault": "reset"}),
    "broken": PlayableMistake("the identity domain closes the connection", {"token_fault": "outage"}),
    "proxy": PlayableMistake(
        "the egress proxy refuses the tunnel", {"certificate": "trusted", "egress_proxy": "refuses"}
    ),
    "proxy/gone": PlayableMistake(
        "no program listens on the egress proxy's port",
        {"certificate": "trusted"},
        credential={"proxy": {"url": "http://{closed}"}},
        route={"proxy": {"url": "http://{closed}"}},
    ),
    "proxy-login": PlayableMistake(
        "the egress proxy requires a user and a password", {"certificate": "trusted", "egress_proxy": "407"}
    ),
    "tls": PlayableMistake(
        "https to a port that uses http",
        credential={"token_url": "https://{host}/oauth2/v1/token"},
        route={"upstream": "https://{host}/ic/api/integration/v1/flows/rest/ORDERS/1.0/"},
    ),
    "tls-trust": PlayableMistake("the certificate's authority is not trusted", {"certificate": "untrusted"}),
    "tls-inspection": PlayableMistake("a TLS inspection proxy signs the certificate", {"certificate": "inspection"}),
    "tls-name": PlayableMistake("the certificate is for another name", {"certificate": "wrong-name"}),
    "tls-expired": PlayableMistake("the certificate has expired", {"certificate": "expired"}),
}
