"""What operators see of the gateway: one record per request, events between them, and numbers.

The walk of a request fills a `Record` and adds it to its route's `RouteMeter`. `Log` turns the record into one line and
hands it to the `LineWriter`, whose own thread writes to stdout: a reader that stalls costs lines, which are counted,
and never a request. Events (a renewed token, a reload, a library's warning) are ordinary `logging` calls whose handler
ends in the same writer. `Metrics` keeps plain numbers while requests run and speaks Prometheus only when it is scraped.

Nothing here decides anything about a request, and nothing here holds a secret: `mask` is the net below that promise.
"""
