"""HTTP/1.1 on the wire, without policy: field tables, limits and the body's destination are passed in.

Callers: `server` makes a `caller_connection` for each, which belongs to a `caller_listener`; a `connection_preface`
may come before it, with a `proxy_header` (`open_connection` and `local_address` have what both share). It reads heads
with `head_reader`, `request_head` and `malformed`, and bodies with `request_body`; `response_writer` sends responses.
`connection_limits` bounds connections, `half_close` finds callers that left, `accept_queue` empties the accept queue
at a stop. Upstreams: `pool` keeps each `upstream_connection`, which `upstream_dialer` opens and `response_parser`
parses. Both sides share `fields`, `head_shapes`, `chunked` and `flow_control`.
"""
