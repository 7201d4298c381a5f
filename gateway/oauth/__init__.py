"""The way of a token: from a client's id and secret to the bearer value that a request carries.

A `TokenSource` (source) owns one credential's token. A request asks it; `decide` (lifetime, pure) says use, use and
renew behind, fetch and wait, or refuse until. To fetch, the source has the request made afresh (grants and client_auth,
pure: the secret is read anew each time), hands it to the `TokenEndpoint` (endpoint, the one place that does HTTP), gets
a `TokenReply` read by `read_reply` (grants) and turns it into a `Token` with a lifetime (lifetime). The token is put
into the `Store` (store) under a key that never names a route, so routes, reloads and later replicas share it.

What goes wrong is `TokenRefused` (someone must act) or `TokenUnavailable` (tried again), told apart by RFC 6749's
`error` code alone. The `reason` of both begins with a short code and a colon; `remedy_for` (grants) knows what to do.
This package knows nothing of proxying, configuration, logs or metrics: those who want to see pass a `Watch`.
"""
