"""Problems of a service that appear only under load."""

from gateway.diagnosis.catalog.entry import CatalogEntry

SERVICES = {
    "upstream-down": CatalogEntry(
        "the circuit of the service is open: callers get 503 `upstream-down`",
        "Several calls in a row found no connection, no response in time, or 502, 503 or 504 without an instance id. "
        "No flow has run.",
        "Check the instance's state in Developer Services → Integration, and the network path to it. The gateway sends "
        "a trial call from time to time, and closes the circuit when it succeeds.",
    ),
    "overloaded": CatalogEntry(
        "calls wait for a place at the service, and callers get 503 `overloaded` after `wait`",
        "There are more calls at once than `calls` of the service, or 90 % of its packs, allows.",
        "Find the callers with the most calls; then send fewer calls at once, buy a message pack and raise `packs`, or "
        "make slow integrations faster. Raise `wait` if short peaks are the cause.",
    ),
}
