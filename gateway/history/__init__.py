"""The records of the last calls, which can be searched: which run of OIC a call started, and how the call ended.

`interface` defines a `History`. It stores the *record* of each call as its log line, and finds records by a
`HistoryQuery` (`query`: instance id, request id, route, client, status, time; newest first). `MemoryHistory` (`memory`)
keeps the last lines as bytes. `FileHistory` (`file`) queues them for a thread, which writes them to a `HistoryFile`
(`history_file`): an SQLite file, whose tables and statements are in `sqlite_tables`. A `HistoryReader` (`timed_reads`)
searches the file in the gateway that writes it, in the parent of several workers, or in the command line when no
gateway runs.

    append ── MemoryHistory
          └── FileHistory ── queue, thread ── HistoryFile ── sqlite_tables
    find ──── HistoryReader ──────────────────────┘

`usage_buckets` counts calls and messages by hour, service, route and caller. The thread of a `FileHistory` adds them to
a table of the file (`usage_table`). `usage_reads` groups the rows of the table and those in memory by a `UsageQuery`
(`usage_query`, which also writes the report as JSON).

Before an unsafe request is sent, `open_calls` describes it, so that it can be found if the process is killed. `append`
never waits and never fails: if the queue or the disk is full, calls are counted in `lost`, and the log reports it once.
For the same reason the history has its own file, and `free_space` reserves room for tokens on the volume.
"""
