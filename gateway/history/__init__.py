"""The last calls, searchable: which run of OIC a call started, and what became of it.

The *record* of each call, as the one line that the log has of it, is *noted* in a `History` (port) and *found* again by
a `Query` (query, pure): by instance id, request id, route, caller, status or time, newest first. `MemoryHistory`
(memory) holds the last lines as bytes. `FileHistory` (file) hands them to a thread of its own, which writes them to a
`Book` (book): an SQLite file whose tables and questions stand in `tables`; whoever may read the file can ask it through
a `Reader` (reading), the gateway that writes it, the parent of several workers, or a verb after all of them have gone.

    note ── MemoryHistory
        └── FileHistory ── queue, thread ── Book ── tables
    find ── Reader ──────────────────────────┘

A history is worth less than any call: noting one never waits and never fails. What cannot be kept, because the queue or
the disk is full, is counted in `lost` and said once. For the same reason the file is another than that of `state`,
beside it: tokens wait for the disk and must not be lost, calls do not wait and may be.
"""
