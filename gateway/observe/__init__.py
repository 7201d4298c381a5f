"""What operators see of the gateway: a record of each request, events, and metrics.

The request pipeline fills a `Record` (`record`, with `secret_mask` and `timestamp`) and adds it to the `RouteMeter` of
its route (`meters`). `Log` (`log`) turns the record into a line (`json_line`) for the `LineWriter` (`line_writer`),
whose thread writes to standard output: a slow reader costs lines, which are counted, and delays no request. The bounded
queue of the thread is `line_queue`; the history uses it too. Events (a renewed token, a reload, a warning of a library)
are ordinary `logging` calls whose handler uses the same writer; `episodes` limits repeated ones. `Metrics` (`metrics`)
keeps plain numbers, which `exposition` turns into Prometheus text when it is scraped. `time_slices` runs long work
without delaying callers.

Nothing here decides anything about a request or holds a secret; `secret_mask` is only a second line of defence.
"""
