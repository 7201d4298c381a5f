"""Several processes as one gateway, for machines with several CPUs (`workers: N`).

The `Crew` is the parent: it starts the workers, watches and replaces them, and answers the admin port for all; no
request passes it. Each `Worker` is a whole `app.Gateway` on a socket of its own, bound to the one address of callers:
the system deals connections out, and a worker's end touches no other's calls.

    crew ── line ──► worker      asked: start, prepare, adopt, numbers, status, readiness, drain; see `wire`
    crew ── line ──► nursery     asked: one worker more; tells of each worker's end
                     nursery ── fork ──► worker

The nursery is a process that does nothing but fork. It is made first of all, before there is a loop, a thread or an
open port, because none of them may live across a fork; a worker is therefore there within milliseconds, with all
modules loaded and their memory shared. Settings go over the line, never into arguments. When the crew goes, even by
SIGKILL, every line ends: the workers drain and leave, then the nursery.

Workers and nursery ignore SIGTERM, SIGINT and SIGHUP: a terminal or a service manager sends them to the whole group,
and the crew alone decides what they mean.
"""
