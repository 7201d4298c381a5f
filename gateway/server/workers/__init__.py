"""Several processes as one gateway, for machines with several CPUs (`workers: N`).

The `Supervisor` (`supervisor`) is the parent: it starts the workers, watches and replaces them (one `worker_handle`
each), reads their counters (`worker_polling`), and answers the admin port for all (`aggregation`). Requests of callers
do not pass through it. Each `Worker` (`worker`) is a whole `Gateway` that listens on the addresses for callers itself:
the kernel distributes the connections, and the end of one worker affects no call of another. `cpus` resolves
`workers: auto`. The notices of all workers arrive through `worker_channels`. For the console, `worker_processes` asks
the workers, and `call_lines` passes on their records.

    supervisor ── rpc ──────► worker         start, prepare, adopt, snapshot, status, readiness, drain, …
               ◄── notices ─►                places of services (`gateway.services`)
    supervisor ── socket ───► fork_server    one more worker; reports the exit of each worker
                              fork_server ── fork ──► worker

The `fork_server` is a process that only forks. It is created before there is a loop, a thread or an open port, because
none of them may survive a fork. A new worker shares the memory of all loaded modules, and is ready within milliseconds.
Settings go over the socket (`rpc`), never into process arguments. If the supervisor ends, even by SIGKILL, its sockets
close: the workers drain and end, then the fork server.

Workers and fork server ignore SIGTERM, SIGINT, SIGHUP and SIGUSR1: terminals and service managers send them to the
whole process group, and only the supervisor acts on them.
"""
