"""Problems of a caller with limits."""

from gateway.diagnosis.catalog.entry import CatalogEntry

CALLERS = {
    "too-many-requests": CatalogEntry(
        "calls of a caller get 429 `too-many-requests`",
        "The caller sends more calls than its `rate` and `burst` allow, or has used its `quota` of calls or messages.",
        "Find out why the caller calls so often: a loop, retries without a pause, a new batch. If the calls are "
        "needed, raise `rate`, `burst` or `quota` of the caller under `callers`.",
    ),
}
