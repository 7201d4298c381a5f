"""The checks that contact something, step by step: what `check --live` and `token` do.

`run` goes through a configuration: `credential` checks the way to each token endpoint (`connect`), its discovery
document and a token; `route` sends a harmless request with that token to each upstream, by `http_probe`. They gather
facts; `gateway.diagnosis` decides what those mean. `token` gets one token. `background` checks failing credentials and
routes again while the gateway serves, for `/status`. Nothing here shows a secret or a token.
"""
