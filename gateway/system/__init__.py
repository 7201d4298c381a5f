"""What the gateway needs of the operating system, without knowing what it is for.

`files` reads files that may hang; `sqlite_file` opens database files that processes share. `bind` binds sockets and asks
them for facts. `descriptor_budget` (pure) divides the limit of open files; `gc_tuning` tunes the garbage collector;
`hardening` keeps core dumps and other processes away from secrets.
"""
