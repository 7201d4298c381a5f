"""The table of all metrics of the gateway. Pure."""

from typing import Literal, NamedTuple

from gateway.observe.exposition import Labels

PREFIX = "oic_gateway_"
UNROUTED = "-"
"""The label `route` of requests that match no route."""
NO_STATUS = "none"
"""The label `status` of requests that ended before they had a status."""


class MetricDefinition(NamedTuple):
    """One metric: its description in `/metrics`, and how values of several processes are merged."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: Labels
    help: str
    merge: Literal["sum", "max", "min"] = "sum"


_ROUTE = ("route",)
_CREDENTIAL = ("credential",)
_SERVICE = ("service",)

METRICS: dict[str, MetricDefinition] = {
    PREFIX + name: definition
    for name, definition in {
        "requests_total": MetricDefinition(
            "counter", ("route", "method", "status", "blame"), "Completed requests, by status class and blame."
        ),
        "requests_in_flight": MetricDefinition("gauge", _ROUTE, "Requests in progress."),
        "request_duration_seconds": MetricDefinition(
            "histogram", _ROUTE, "Time from the request head to the last byte of the response, in seconds."
        ),
        "upstream_duration_seconds": MetricDefinition("histogram", _ROUTE, "Time spent with the upstream, in seconds."),
        "token_wait_seconds": MetricDefinition(
            "histogram", _ROUTE, "Time that a request waited for its token, in seconds."
        ),
        "request_bytes_total": MetricDefinition("counter", _ROUTE, "Bytes of request bodies received from callers."),
        "response_bytes_total": MetricDefinition("counter", _ROUTE, "Bytes of response bodies sent to callers."),
        "replays_total": MetricDefinition("counter", ("route", "reason"), "Further attempts of requests, by reason."),
        "instance_ids_total": MetricDefinition(
            "counter", ("route", "result"), "Responses of OIC with and without an instance id."
        ),
        "caller_requests_total": MetricDefinition(
            "counter", ("caller", "status_class"), "Completed requests on routes with `callers`, by caller."
        ),
        "messages_total": MetricDefinition("counter", _ROUTE, "Minimum number of messages that OIC bills for calls."),
        "caller_messages_total": MetricDefinition(
            "counter",
            ("caller",),
            "Minimum number of messages that OIC bills for calls on routes with `callers`, by caller.",
        ),
        "caller_quota_limit": MetricDefinition(
            "gauge", ("caller", "quota"), "Calls or messages that the quota of a caller allows in its period.", "max"
        ),
        "caller_quota_used": MetricDefinition(
            "gauge", ("caller", "quota"), "Calls or messages of the present period that count for the quota.", "max"
        ),
        "caller_rejections_total": MetricDefinition(
            "counter", ("caller", "limit"), "Requests refused by a limit of the caller: rate, calls or messages."
        ),
        "caller_limits_shared": MetricDefinition(
            "gauge", (), "1 if replicas share the limits of callers, 0 while Redis does not answer.", "min"
        ),
        "token_requests_total": MetricDefinition(
            "counter", ("credential", "result"), "Completed requests to token endpoints."
        ),
        "token_fetch_seconds": MetricDefinition(
            "histogram", _CREDENTIAL, "Duration of a request to a token endpoint, in seconds."
        ),
        "token_expiry_timestamp_seconds": MetricDefinition(
            "gauge", _CREDENTIAL, "When the current token expires, in seconds since the epoch.", "max"
        ),
        "token_state": MetricDefinition(
            "gauge", ("credential", "state"), "Processes by the state of their token: fresh, stale, dead or none."
        ),
        "token_failing": MetricDefinition(
            "gauge",
            _CREDENTIAL,
            "Processes without a valid token whose last token request failed; 0 for an idle credential.",
        ),
        "token_obtained_timestamp_seconds": MetricDefinition(
            "gauge", _CREDENTIAL, "When the current token was obtained, in seconds since the epoch.", "max"
        ),
        "token_last_error_timestamp_seconds": MetricDefinition(
            "gauge",
            ("credential", "code"),
            "When the last token request failed, if none has succeeded since, in seconds since the epoch.",
            "max",
        ),
        "secret_changed_timestamp_seconds": MetricDefinition(
            "gauge",
            _CREDENTIAL,
            "When the secret of the last token request was written to its file or vault, in seconds since the epoch.",
            "max",
        ),
        "token_waiters": MetricDefinition("gauge", _CREDENTIAL, "Callers that wait for a token."),
        "token_coalesced_total": MetricDefinition(
            "counter", _CREDENTIAL, "Callers that waited for a token request of another caller."
        ),
        "token_replays_total": MetricDefinition(
            "counter", _CREDENTIAL, "Callers that received another token after OIC rejected theirs."
        ),
        "token_budget_left": MetricDefinition(
            "gauge", _CREDENTIAL, "Token requests left in the budget of this minute.", "min"
        ),
        "store_up": MetricDefinition(
            "gauge", (), "1 if tokens are shared as configured, 0 while the token store is unavailable.", "min"
        ),
        "caller_connections": MetricDefinition("gauge", (), "Connections of callers that count towards the limit."),
        "caller_connections_limit": MetricDefinition("gauge", (), "Maximum number of open connections of callers."),
        "connections_refused_total": MetricDefinition(
            "counter", ("reason",), "Refused connections of callers, by reason: limit, address, forbidden."
        ),
        "connections_failed_total": MetricDefinition(
            "counter", ("listener", "reason"), "Connections that ended before their first request, by reason."
        ),
        "certificate_expiry_timestamp_seconds": MetricDefinition(
            "gauge", ("listener",), "When the certificate of a listener expires, in seconds since the epoch.", "min"
        ),
        "file_shortages_total": MetricDefinition(
            "counter", (), "Checks (one a second) that found no free file descriptor."
        ),
        "upstream_connections": MetricDefinition("gauge", ("origin", "state"), "Connections to upstreams."),
        "service_calls_limit": MetricDefinition(
            "gauge", _SERVICE, "Current maximum number of concurrent calls to the service.", "max"
        ),
        "service_calls_running": MetricDefinition("gauge", _SERVICE, "Calls that have a place at the service."),
        "service_calls_waiting": MetricDefinition("gauge", _SERVICE, "Calls that wait for a place at the service."),
        "service_queue_seconds": MetricDefinition(
            "histogram", _SERVICE, "Time that a call waited for its place at the service, in seconds."
        ),
        "service_circuit_state": MetricDefinition(
            "gauge", ("service", "state"), "1 for the state of the circuit: closed, open or half-open.", "max"
        ),
        "service_rejections_total": MetricDefinition(
            "counter",
            ("service", "reason"),
            "Calls without a place (overloaded, upstream-down), and second tries without a budget (retry-budget).",
        ),
        "notifications_total": MetricDefinition(
            "counter", ("hook", "result"), "Notifications of each hook, by result: ok, failed or dropped."
        ),
        "log_lines_lost_total": MetricDefinition(
            "counter", (), "Log lines dropped because the target did not accept them in time."
        ),
        "history_lost_total": MetricDefinition("counter", (), "Calls that could not be recorded in the history."),
        "telemetry_exports_total": MetricDefinition(
            "counter", ("signal", "result"), "Exports to the OpenTelemetry collector: ok, partial, refused or failed."
        ),
        "telemetry_spans_lost_total": MetricDefinition(
            "counter", ("reason",), "Spans that were not exported: queue-full, rejected, refused, failed or stopped."
        ),
        "workers": MetricDefinition("gauge", (), "Processes that serve callers and respond."),
        "worker_losses_total": MetricDefinition("counter", (), "Worker processes that ended unexpectedly."),
        "build_info": MetricDefinition("gauge", ("version",), "Always 1; the label contains the version.", "max"),
    }.items()
}
