"""Observability: a record of each request, events, and metrics.

The request pipeline fills a `Record` (`record`, with `timestamp`) and counts it in the `RouteMeter` of its route
(`meters`). `Log` (`log`) turns the record into a line (`json_line`) for the `LineWriter` (`line_writer`), whose thread
writes to standard output or a `log_file`, or for a `socket_writer`, whose thread sends to a receiver: `syslog_writer`
connects to syslog (format: `syslog_message`), `journal_writer` to journald (`journal_entry`). `combined_line` is the
format of access logs, `event_row` that of events as text. If the output is slow, lines are dropped and counted;
requests are not delayed. `line_queue` is the bounded queue of such a thread; the history uses it too. Events (a renewed
token, a reload, a warning of a library) are `logging` calls whose handler uses the same writer. `episodes` limits
repeated events. `secret_mask` masks secrets in texts of libraries and peers.

`Metrics` (`metrics`) has all meters of a process. `metric_table` defines every metric. A scrape reads the values into a
snapshot (`snapshots`), which `exposition` and `scrape` turn into Prometheus text. `time_slices` divides long work on
the event loop, so that it delays no request.

For the console, `time_series` keeps series of the last hours, computed from snapshots, and `call_feed` passes records
to readers that watch calls live.

This package decides nothing about a request, and holds no secret.
"""
