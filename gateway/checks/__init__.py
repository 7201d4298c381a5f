"""The checks that contact other systems, for `check --live`, `token` and `/status`.

`run` checks a whole configuration. `credential` checks the connection to each token endpoint (`connect`), its discovery
document and a token; `route` sends a harmless request with that token to each upstream, by `http_probe`. They gather
facts; `gateway.diagnosis` decides what the facts mean. `token` gets one token. `single` checks one credential or
route of a running gateway. `background` checks failing credentials
and routes again while the gateway serves, for `/status`. No result contains a secret or a token.
"""
