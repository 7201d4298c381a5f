"""A checked configuration becomes running objects: token sources, compiled routes, stores.

`components` builds a `Runtime` from a configuration and reuses what did not change. `routes` compiles routes;
`token_stores` opens the store of tokens and `history` that of calls. `token_events` reports what token sources do to
the log and the metrics.
"""
