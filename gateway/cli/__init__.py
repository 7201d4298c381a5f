"""The command line: one module per command, with its arguments, exit statuses and `run`.

`main` dispatches to them by the table in `commands`, which also makes their parsers. `options` finds the configuration:
a file, or one route in options and variables. `output` writes standard output and standard error in any encoding.

Commands: `serve`, `check`, `print_token`, `sign_in` (login), `sign_out` (logout), `rotate`, `init`, `sandbox`, `probe`,
`instances`, `usage`, `make_key` (caller), `manage_users` (user), `print_schema`, `completion`. `admin_query` is the
part that `instances` and `usage` share, `against` the comparison of `check`.
"""
