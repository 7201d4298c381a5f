"""The serving process: a running `gateway`, alone in its process (`single_process`) or as one of several (`workers`).

The `active_runtime` of the gateway is its compiled configuration, which a reload replaces. `lifecycle` starts and stops
the process. `reloader` reloads it, also when a `config_watch` finds changed files, and a `reload_report` is the
outcome. `listen_socket` binds the addresses for callers, `listeners` watches their certificates, and `shortage_monitor`
reports a lack of file descriptors and connections. The `record_writer` writes the records of ended requests, and
counts their usage. `idle_renewals` uses the refresh tokens of idle credentials.
`admin_documents` writes what the admin port shows, and `console_mount` adds the web console to it, if the configuration
has one. `console_data` is the backend of the console. It asks the processes that serve callers, each of which answers
with its `process_console`, for sign-ins and invites with `process_sign_in`: one as a `local_process`, or the workers.
`configuration_view` writes the configuration without secrets. `notifier_mount` runs the notifications. Both use the
`serving_processes`.
"""
