import pytest

from gateway.admin.address import AdminAddress, connect_address, parse_address


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("127.0.0.1:9090", AdminAddress("127.0.0.1", 9090)),
        ("[::1]:9090", AdminAddress("::1", 9090)),
        (":9090", AdminAddress("", 9090)),
        ("unix:/run/a:b.sock", AdminAddress("", 0, "/run/a:b.sock")),
    ],
)
def test_places(address: str, where: AdminAddress) -> None:
    assert parse_address(address) == where


@pytest.mark.parametrize("address", ["", "9090", "host", "host:", "host:http", "host:65536", "host:-1", "host:٣"])
def test_what_is_no_place(address: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        parse_address(address)


@pytest.mark.parametrize(
    ("address", "host"),
    [("0.0.0.0:1", "127.0.0.1"), ("[::]:1", "::1"), (":1", "127.0.0.1"), ("10.0.0.7:1", "10.0.0.7")],
)
def test_a_wildcard_address_is_reached_at_loopback(address: str, host: str) -> None:
    assert connect_address(parse_address(address)) == AdminAddress(host, 1)


def test_a_socket_file_is_reached_by_its_path() -> None:
    assert connect_address(parse_address("unix:/a")).path == "/a"
