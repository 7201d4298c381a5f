"""A person signs in once, so that the gateway can renew tokens without a person: the verbs `login` and `logout`.

`login` builds an `AuthorizationRequest` (`authorization_request`) with PKCE and its own `state`, and shows its URL. The
response arrives through a browser at a `RedirectListener` on this machine (`redirect_listener`), or the person pastes
it (`paste`). `authorization_response` (pure) reads it. Its code is exchanged by a token request like any other. The
refresh token is put into the store of the running gateway, under the lease, so that no renewal runs at the same time.
`logout` revokes that token and deletes it.
"""
