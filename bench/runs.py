"""The runs that are not a load of a contender, by name, in order."""

from collections.abc import Callable

from bench.additions import additions
from bench.console import console
from bench.measure import Bench
from bench.renaming import renaming
from bench.scale import (
    Fact,
    credentials,
    history,
    idle,
    renewal,
    rest,
    routes,
    start,
    storm,
    stream,
    workers,
)
from bench.sub_filter import sub_filter

RUNS: dict[str, Callable[[Bench], list[Fact]]] = {
    run.__name__: run
    for run in (
        *(
            additions,
            routes,
            credentials,
            history,
            console,
            renewal,
            idle,
            storm,
            rest,
            start,
            stream,
            renaming,
            sub_filter,
        ),
        workers,
    )
}
