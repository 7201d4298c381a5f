"""HTTP/1.1 on the wire, without policy: field tables, limits and the body's destination are passed in.

Callers: `server` creates a `caller_connection` for each connection to a `caller_listener`. It runs the
`request_handler` as an `eager_task`; `caller_channel` is what the handler uses of it. Before HTTP, a
`connection_preface` handles TLS and the PROXY protocol (`proxy_header`); `open_connection` and `local_address` are
common to both. `head_reader`, `request_head` and `malformed` read request heads, `request_body` reads bodies.
`response_writer` sends responses.
`connection_limits` limits connections, `half_close` detects callers that have left, and `accept_queue` drains the
accept queue at a stop.

Upstreams: `upstream_dialer` opens an `upstream_connection`, `response_parser` parses its responses, and `pool` reuses
it; `event_wait` waits for a response. Both sides use `fields`, `head_shapes`, `chunked`, `flow_control`, and
`body_reader` for large bodies; `body_peers` are the interfaces that bodies use.
"""
