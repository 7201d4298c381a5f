"""The adapters of the `Store` port: where tokens, leases and refresh tokens are kept.

`MemoryStore` (memory) keeps them in this process. What outlives it or is shared is bytes on a *shelf*: `FileShelf`
(file) is SQLite for the workers of one machine, `RedisShelf` (redis) is for replicas. A shelf knows names and bytes
only; `SealedStore` (sealed) makes a store of one: each entry is written in wall time (entry, pure) and sealed under its
own name (seal). `Sharing` (sharing) stands before it and goes on with memory alone while the shelf cannot be reached.

    Sharing ── SealedStore ── FileShelf | RedisShelf
       └────── MemoryStore

Nothing here is imported before it is used: each shelf brings a large library.
"""
