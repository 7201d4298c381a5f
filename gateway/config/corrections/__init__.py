"""Corrections of values that users copy from Oracle's console. `init` applies them, `check` warns about them. Pure.

`pasted_text` has the result (`Corrected`) and the steps that all values share. Each value has one module:
`identity_domain` (token URL), `client_secret` (client id and secret file), `pasted_scope` (scope) and `integration_url`
(upstream).
"""
