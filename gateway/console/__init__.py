"""The web console on the admin port. It is imported only if the configuration has `console`.

`console` dispatches a request of the admin port, a `ConsoleRequest` (`console_request`): to a page, an action, a file
of `static_files`, or the login. `request_guard` decides by host and origin, `roles` by the rights of a role. A page is
a function in `pages`: it gets a `PageRequest` and returns a `Page` (`page`), which `rendering` turns into HTML. An
action is a function of `actions`; `audit_log` records it. `console_responses` makes the responses, with the fields of
`security_headers` and the cookies of `console_cookies`.

`view_overview`, `view_calls`, `view_callers`, `view_usage`, `view_charts`, `view_counters` and `view_state` turn
documents of the gateway into what a template shows; `formatting` writes times, durations and sizes.

`login_flow` logs people in. `login_sessions` are their sessions, `authentication` knows the present role of each. Local
users are those of a file (`user_directory`); others come from an `identity_provider`, whose tokens
`openid_connect` checks; `provider_check` tries that provider. `sealed_state` is what the browser keeps during a login,
and `login_limits` slows down guesses.

`sign_in_flow` signs a person in for a credential; `pending_sign_ins` wait for the identity domain's response. With an
invite (`invite_flow`) the person needs no login of the console.
"""
