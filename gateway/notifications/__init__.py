"""Calls hooks when a person should act (`notify`).

`conditions` (pure) reads from the states of credentials, services, callers and listeners what is wrong now.
`Notifier` (`notifier`) compares them every few seconds with what was sent; a lease in the token store decides which
replica sends, and how often. `notification` (pure) writes the JSON, and `hook_client` sends it to one hook.
"""
