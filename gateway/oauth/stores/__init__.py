"""The implementations of `Store`: where tokens, leases and refresh tokens are stored.

`MemoryStore` (`memory`) holds them in this process. A `Backend` (`backend_interface`) outlives the process or is
shared, and has only names and bytes: `FileBackend` (`file`) is SQLite for the workers of one machine, `RedisBackend`
(`redis`) is for replicas. `EncryptedStore` (`encrypted`) makes a store of a backend: it encodes tokens in wall time and
encrypts each entry under its name (`entry_cipher`). `FallbackStore` (`fallback`) wraps it, and continues with memory
alone while the backend cannot be reached.

    FallbackStore ── EncryptedStore ── FileBackend | RedisBackend
          └───────── MemoryStore

Nothing here is imported before it is used: each backend imports a large library.
"""
