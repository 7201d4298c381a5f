"""What the gateway needs of the operating system, without knowing what it is for.

`files` reads files that may hang; `sqlite_file` opens databases that processes share. `bind` binds sockets and reads
their facts; `peer_credentials` finds the user of a peer. `descriptor_budget` (pure) divides the limit of open files;
`gc_tuning` tunes the garbage collector; `hardening` keeps core dumps and other processes away from secrets.
"""
