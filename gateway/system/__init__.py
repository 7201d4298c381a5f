"""Services of the operating system and of Python, independent of their use in the gateway.

`files` reads files that may hang, `confined_files` opens those that must stay in a folder, which `confined_path` (pure)
names; `safe_write` writes files that must survive a crash, and `staged_file` replaces one
in two steps; `sqlite_file` opens databases that processes share. `bind` binds sockets and reads their properties;
`peer_credentials` finds the user of a peer, `own_host` whether a host is this machine. `background_tasks` holds tasks
until they end. `descriptor_budget` (pure) divides the limit of open files; `gc_tuning` tunes the garbage collector,
and `program_pages` releases what of libraries only the start needed;
`hardening` keeps core dumps and other processes away from secrets. `service_manager` notifies systemd; `passed_sockets`
takes the sockets that it passes.
"""
