"""What the gateway asks of the operating system.

`files` reads files that may not answer; `bind` binds the addresses to listen on; `descriptor_budget` divides file
descriptors (pure); `gc_tuning` prepares memory for serving; `hardening` forbids core dumps.
"""
