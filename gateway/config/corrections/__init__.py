"""Corrections of values that people paste from Oracle's console, for `init` and for the warnings of `check`. Pure.

`pasted_text` has the result (`Corrected`) and what all values share. One module for each value: `identity_domain`
(token URL), `client_secret` (client id and secret), `pasted_scope` (scope) and `integration_url` (upstream).
"""
