"""The URL of a Redis server, its sentinels or its cluster. Pure.

The message of a ValueError is "problem; remedy" and never contains the value.
"""

import re

import msgspec

from gateway.config.values import split_address

_FORMS = "redis://HOST:PORT/DB, unix:/path, redis+sentinel://HOST:PORT/SERVICE or redis+cluster://HOST:PORT"
_URL = re.compile(
    r"(?P<scheme>rediss?)(?:\+(?P<kind>sentinel|cluster))?://(?P<hosts>[^/?#\s]+)(?:/(?P<path>[^?#\s]*))?"
)
_SOCKET = re.compile(r"unix:(?://)?(?P<path>/[^?#\s]+)(?:\?db=(?P<db>[0-9]{1,4}))?")
_PORTS = {"sentinel": 26379}
_PATHS = {
    None: re.compile(r"(?P<db>[0-9]{0,4})"),
    "sentinel": re.compile(r"(?P<service>[A-Za-z0-9._-]+)(?:/(?P<db>[0-9]{1,4}))?"),
    "cluster": re.compile(r""),
}
_PATH_PROBLEMS = {
    None: "has no database number after its host; write it like redis://host:6379/0",
    "sentinel": "names no service after its hosts; write it like redis+sentinel://host:26379/mymaster",
    "cluster": "has a path, but a cluster has one database only; remove it",
}


class RedisUrl(msgspec.Struct, frozen=True):
    """`hosts` are (name, port), or `path` is a socket. With a `service` the hosts are sentinels of the master of that
    name; with `is_cluster` they are nodes of a cluster.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    is_cluster: bool = False
    is_tls: bool = False
    db: int = 0


def parse_redis_url(url: str) -> RedisUrl:
    """Parse a URL of Redis. Raise ValueError."""
    if socket := _SOCKET.fullmatch(url):
        return RedisUrl(path=socket["path"], db=int(socket["db"] or 0))
    if "@" in url:
        raise ValueError("must not contain a user or password; set `username` and `password`")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"is not a URL of Redis; write {_FORMS}, or rediss for TLS")
    kind = match["kind"]
    hosts = tuple(_host(host, _PORTS.get(kind, 6379)) for host in match["hosts"].split(","))
    if kind is None and len(hosts) > 1:
        raise ValueError("names several hosts; use redis+sentinel:// or redis+cluster://")
    path = _PATHS[kind].fullmatch(match["path"] or "")
    if path is None:
        raise ValueError(_PATH_PROBLEMS[kind])
    after = path.groupdict()
    return RedisUrl(
        hosts,
        service=after.get("service", ""),
        is_cluster=kind == "cluster",
        is_tls=match["scheme"] == "rediss",
        db=int(after.get("db") or 0),
    )


def _host(text: str, port: int) -> tuple[str, int]:
    has_port = not text.endswith("]") and ":" in text
    try:
        address = split_address(text if has_port else f"{text}:{port}")
    except ValueError:
        address = "", 0
    if address[1] == 0:
        raise ValueError("has an invalid host; write HOST or HOST:PORT, separated by commas")
    return address
