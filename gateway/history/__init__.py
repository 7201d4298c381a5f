"""The last calls, searchable: which run of OIC a call started, and how it ended.

`interface` defines a `History`: it stores the *record* of each call, as the log line of it, and finds records again by
a `HistoryQuery` (`query`: instance id, request id, route, caller, status, time; newest first). `MemoryHistory`
(`memory`) keeps the last lines as bytes. `FileHistory` (`file`) queues them for a thread, which writes them to a
`HistoryFile` (`history_file`): an SQLite file, whose tables and statements are in `sqlite_tables`; `version_1` reads
and converts the file of an earlier gateway. Each process that can read the file searches it with a `HistoryReader`
(`timed_reads`): the gateway that writes it, the parent of several workers, or the command line when no gateway runs.

    append ── MemoryHistory
          └── FileHistory ── queue, thread ── HistoryFile ── sqlite_tables
    find ──── HistoryReader ──────────────────────┘

`usage_buckets` counts calls and messages by hour, service, route and caller. The thread of a `FileHistory` adds them to
a table of the file (`usage_table`). `usage_reads` groups the rows of the table and those in memory as a `UsageQuery`
asks (`usage_query`, which also has the report as JSON).

Before an unsafe call is sent, `begun_calls` describes it, so that it can be found if the process is killed. Appending
never waits and never fails: if the queue or the disk is full, calls are counted in `lost`, and the log reports it once.
For the same reason the file is separate from that of `state`, and `free_space` reserves room for tokens on the volume.
"""
