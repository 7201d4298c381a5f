"""The request pipeline: the policy of a request, from a caller's plain HTTP to OIC and back.

`forward` runs the pipeline: `CallerConnection` (http) hands it each request, and an `Exchange` (`exchange`) holds the
state and makes the one record; `request_tracing` makes the trace. `request_checks` finds the route and checks the
request, with `caller_check` for its caller; `attempt` sends it, and `ResponseRelay` (`response`) delivers the
upstream's response, with its head edited by `response_fields`, and most of a large body through a `direct_sender`.
`route_table` holds the compiled configuration.

Pure modules decide: who may call (`admission`, `gateway_authorities`), what web pages may do (`cors`), which route and
target (`routing`), which methods count (`method_override`), which fields pass (`headers`), which cookies a route keeps
(`cookies`), what a route changes (`request_edits`), when to send again (`retry`), which redirect to follow
(`redirects`), how URLs are rewritten (`rewriting`), what an error response contains (`error_response`).
"""
