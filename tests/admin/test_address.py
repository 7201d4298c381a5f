import pytest

from gateway.admin.address import Place, place, reachable


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("127.0.0.1:9090", Place("127.0.0.1", 9090)),
        ("[::1]:9090", Place("::1", 9090)),
        (":9090", Place("", 9090)),
        ("unix:/run/a:b.sock", Place("", 0, "/run/a:b.sock")),
    ],
)
def test_places(address: str, where: Place) -> None:
    assert place(address) == where


@pytest.mark.parametrize("address", ["", "9090", "host", "host:", "host:http", "host:65536", "host:-1", "host:٣"])
def test_what_is_no_place(address: str) -> None:
    with pytest.raises(ValueError, match="is no HOST:PORT"):
        place(address)


@pytest.mark.parametrize(
    ("address", "host"),
    [("0.0.0.0:1", "127.0.0.1"), ("[::]:1", "::1"), (":1", "127.0.0.1"), ("10.0.0.7:1", "10.0.0.7")],
)
def test_all_addresses_are_asked_at_loopback(address: str, host: str) -> None:
    assert reachable(place(address)) == Place(host, 1)


def test_a_socket_file_is_asked_where_it_is() -> None:
    assert reachable(place("unix:/a")).path == "/a"
