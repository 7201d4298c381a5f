"""oic-gateway: legacy systems call in plain HTTP, Oracle Integration Cloud is called with OAuth 2.0.

The house, from the street inwards; imports point downwards only:

    cli           the verbs; `flags`: what a command line says of the configuration
    workers/      several processes as one gateway: the parent, its workers, the line between them
    app           a running gateway: start, reload, drain, stop
    service       the life of `serve`: signals, what the log is told of it   door   the address of callers
    wiring        a configuration compiled to ready-made objects, its routes in `routes`
    live/         the checks that really ask
    proxy/        the way of a request; `proxy/forward.py` is THE WALK, read it first
    oauth/        the way of a token: decided in `lifetime`, got by `endpoint`, kept and shared by `source`
    oic/          what is known of Oracle Integration Cloud
    init/         the verb that writes a first configuration
    admin/        health, metrics and status on a port of their own
    history/      the last calls, to be searched; `noting` chooses where they are kept
    observe/      the record of each request, the log, the metrics
    config/       what the operator writes: its shape, its reading, the secrets it points to
    memory        what memory needs before a process serves
    mistakes/     what goes wrong between here and OIC: what is seen, what it means, what to do
    errors        what can go wrong: code, status, blame, meaning, remedy

    sandbox/      an imitation identity domain and OIC instance; knows nothing of the rest

Pure modules decide (fields, chunks, requests, replies; routing, headers, rewriting, attempts, admission, problems;
grants, client_auth, lifetime; instances, diagnosis): values in, values out. The others act. `wiring` and `app` put
them together.
"""

__version__ = "0.1.0"
