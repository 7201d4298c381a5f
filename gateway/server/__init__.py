"""The process: a running `gateway`, its `lifecycle` (start, signals, stop) and the `listen_socket` of callers.

`shortage_monitor` reports a lack of file descriptors and connections. `workers` makes several processes one gateway.
"""
