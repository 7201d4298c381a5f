"""HTTP/1.1 on the wire, without policy: field tables, limits and the body's destination are passed in.

Callers: `server` reads requests with `request_head`, `request_body` and `malformed`, and `response_writer` answers.
`connection_limits` bounds connections, `accept_queue` empties the backlog at a stop, `half_close` finds callers that
left. Upstreams: `pool` keeps each `upstream_connection`, which `upstream_dialer` opens and `response_parser` reads.
Both sides share `fields`, `chunked` and `flow_control`.
"""
