"""A checked configuration becomes running objects: token sources, compiled routes, stores.

`components` builds a `Runtime` from a configuration and reuses what did not change. `credentials` builds the token
source and the token requests of a credential; `routes` compiles routes; both use the TLS contexts and
egress proxies of `outbound`. `secret_reader` builds the reader of secrets. `callers` reads the proofs of callers.
`services` builds the gates of OIC services, and `service_coordination` their coordinators.
`limit_coordination` builds gates and coordinators of callers with limits. `listener_certificates` loads the
certificates of listeners. `token_stores` opens the store of tokens and `history` that of calls; `usage_reader` reports
the usage in it. `token_events` reports the events of token sources to the log, the metrics, the traces and the
`fetch_log` of the console. `telemetry` opens the exporters of traces and metrics. `log_targets` opens the log.
"""
