"""Who calls: proofs that a request presents, and the caller of the configuration that they name.

A *proof* is what a caller can already send: a password, a key, a certificate, an address. `authorization_field` reads
it from the head of a request, `client_certificate` from a certificate. `username_token` verifies WS-Security tokens;
`replay_cache` remembers their digests, so that each is accepted once. `proof_table` finds the callers of a proof by a
keyed digest: its cost does not grow with the number of callers. `directory` holds the callers of a configuration.
`identification` decides: the proofs must name exactly one caller, and no proof may be wrong.
"""
