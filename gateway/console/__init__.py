"""The web console on the admin port. It is imported only if the configuration has `console`.

`console` dispatches a request of the admin port: to a page, a file of `static_files`, or the login. A page is a
function in `pages`: it gets a `PageRequest` and returns a `Page` (`page`), which `rendering` turns into HTML.
`view_overview`, `view_calls`, `view_callers`, `view_usage`, `view_charts`, `view_counters` and `view_state` turn
documents of the gateway into what a template shows; `formatting` writes times, durations and sizes.
`security_headers` are the fields of every response.
"""
