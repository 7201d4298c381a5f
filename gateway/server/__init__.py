"""The serving process: a running `gateway`, its `lifecycle` (start, signals, reload, stop) and the `listen_socket` of
callers.

`shortage_monitor` reports a lack of file descriptors and connections. The package `workers` runs several processes as
one gateway.
"""
