"""The way of a token: from a client's id and secret to the bearer value that a request carries.

A `TokenSource` (source) owns one credential's token. A request asks it; `decide` (lifetime, pure) says use, use and
renew behind, fetch and wait, or refuse until. Sources that share a store, in workers and replicas, get their `Turns`
(turns): one fetches, the others take what comes of it. To fetch, `Asking` (asking) waits for a turn of the endpoint's
`Budget` (budget) and has the credential's `Requests` (requests) make one afresh, of secrets read anew and assertions
signed anew (assertions); grants and client_auth are its tables, one row per grant and per way to authenticate, pure. It
goes to the `TokenEndpoint` (endpoint, the one place that does HTTP), whose `TokenReply` is read by `read_reply`
(grants) and becomes a `Token` with a lifetime (lifetime). The token is put into the `Store` (store) under a key that
never names a route, so routes, reloads and later replicas share it.

A person signs in at the address that authorization (pure) makes. The refresh token that comes of it is used, and
replaced by its successor, by `Refreshing` (refreshing).

What goes wrong is `TokenRefused` (someone must act) or `TokenUnavailable` (tried again), told apart by RFC 6749's
`error` code alone. The `reason` of both begins with a short code and a colon; a table (failures, pure) knows by it when
to try again and what to do. This package knows nothing of proxying, configuration, logs or metrics: those who want to
see pass a `Watch` (watch).
"""
