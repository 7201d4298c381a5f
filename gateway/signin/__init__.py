"""A person signs in once, so that the gateway can renew tokens without a person: from the command line or the console.

`login` builds an `AuthorizationRequest` (`authorization_request`) with PKCE and its own `state`, and shows its URL. The
response arrives through a browser at a `RedirectListener` on this machine (`redirect_listener`), or the person pastes
it (`paste`). `authorization_response` (pure) reads it. The console does the same in the browser of the person.
`sign_in_completion` exchanges the code by a token request like any other, and puts the refresh token into the store of
the running gateway, under the lease, so that no renewal runs at the same time. `invites` are one-time links to the
sign-in in the console; `login --invite` prints one (`invite_command`). `logout` revokes the token and deletes it.
"""
