"""What a person copies out of Oracle's console for a value, and what the configuration needs in its place. Pure.

One module per value: the domain URL (domain), the integration's URL (integration), the scope, which depends on the
integration (scope), the client id and the name of the secret's file (client). All read what was `pasted` (pasted):
`Corrected` is the value, its changes and its doubts; `Uncorrectable` says why there is none. `init` writes the value as
corrected; `config.review` reports the same facts of a file that was written by hand.
"""
