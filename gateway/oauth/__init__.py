"""Obtains OAuth tokens: from a client's id and secret to the bearer value of a request.

A `TokenSource` (`token_source`) holds the token of one credential. For each request, `decide` (`lifetime`, pure)
returns: use it, use it and renew it in the background, fetch and wait, or refuse until a time. `rejections` (pure)
decides whether a 401 of the upstream forces another token; `token_status` (pure) makes the facts for `/status`.

To obtain a token, `SharedFetch` (`shared_fetch`) polls the `Store` (`store`) for the token of another worker or
replica, else fetches one under a `FetchLease` (`fetch_lease`). `TokenFetcher` (`token_fetcher`) waits for the
endpoint's `RateLimiter` (`rate_limiter`), and lets the credential's `TokenRequestBuilder` (`token_request`) build the
request from the present secrets and newly signed `assertions`. `grants` and `client_auth` are its tables (pure): one
row per grant, one per method of client authentication. `TokenEndpoint` (`endpoint`, the only module that does HTTP)
sends it; `read_token_response` (`grants`) reads the response, which becomes a `Token` with a lifetime. Store keys never
name a route, so that routes, reloads and replicas share tokens. The adapters of the store are in `stores`.

A person signs in at the URL that `authorization` (pure) builds. `RefreshTokenRotation` (`refresh_rotation`) uses the
refresh token and replaces it by its successor.

Errors are `TokenRefused` (someone must act) or `TokenUnavailable` (retried); only RFC 6749's `error` code distinguishes
them. The `reason` of both begins with a short code and a colon. For each code, `failures` (pure) has the time of the
next try and the remedy. Time comes from a `Clock` (`clock`). The
package does not know proxying, configuration, logs or metrics: observers implement `TokenEvents` (`fetch_events`).
"""
