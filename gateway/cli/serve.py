"""The command `serve`: run the gateway until a signal stops it."""

import argparse
import sys

from gateway.cli.options import add_config_arguments, read_configuration, run_coroutine

EXAMPLE = "oic-gateway serve gateway.yaml"
EXIT_STATUS = {
    0: "stopped; every request was completed",
    1: "stopped; requests were cut off",
    69: "an address is in use or not allowed, or a secret of a vault or the target of the log cannot be used",
    78: "",
}
_UNAVAILABLE = 69


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_config_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Run the gateway with a configuration file, or with one route from options and variables."""
    from gateway.system.gc_tuning import pause_collection  # noqa: PLC0415 - help needs only the arguments

    with pause_collection():
        from gateway.network.aiohttp_import import import_aiohttp  # noqa: PLC0415

        import_aiohttp()
        from gateway.server import single_process  # noqa: PLC0415
        from gateway.server.workers.cpus import worker_count  # noqa: PLC0415
        from gateway.wiring.log_targets import LogUnavailable, open_log  # noqa: PLC0415

        read = read_configuration(options).read
        loaded = read()
    try:
        if (count := worker_count(loaded.config.workers)) > 1:
            from gateway.server.workers import supervisor  # noqa: PLC0415 - one process needs none of it

            return supervisor.serve(loaded, read, count=count, run=run_coroutine)
        records = open_log(loaded.config.log)
    except LogUnavailable as problem:
        sys.stderr.write(f"{problem}\n")
        return _UNAVAILABLE
    try:
        return run_coroutine(single_process.serve(loaded, read, records))
    finally:
        records.close()
