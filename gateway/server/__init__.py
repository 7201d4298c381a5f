"""The serving process: a running `gateway`, its `lifecycle` (start, signals, reload, stop) the `listen_socket` of
callers, and the `listeners` with their certificates.

`shortage_monitor` reports a lack of file descriptors and connections. The package `workers` runs several processes as
one gateway.
"""
