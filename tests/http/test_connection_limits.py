"""Who may hold a connection, and how the file descriptors of a process are shared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.connection_limits import ConnectionLimits, RefusalReason
from gateway.observe.episodes import EPISODE_GAP, EventDeduplicator
from gateway.system.descriptor_budget import share_files

CALLER, OTHER = "192.0.2.1", "192.0.2.2"


def entered(places: ConnectionLimits, *addresses: str | None) -> list[RefusalReason | None]:
    return [places.admit(address, is_allowed=True) for address in addresses]


def test_one_address_leaves_room_for_others() -> None:
    places = ConnectionLimits(4, refused=9, address_share=0.5)
    assert entered(places, CALLER, CALLER, CALLER) == [None, None, RefusalReason.ADDRESS]
    assert entered(places, OTHER, OTHER, OTHER) == [None, None, RefusalReason.LIMIT]
    assert places.refusals == {RefusalReason.ADDRESS: 1, RefusalReason.LIMIT: 1}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", None])
def test_callers_of_this_machine_may_hold_all_places(address: str | None) -> None:
    places = ConnectionLimits(4, refused=9, address_share=0.25)
    assert entered(places, *[address] * 5) == [None, None, None, None, RefusalReason.LIMIT]


def test_a_share_of_1_gives_one_address_all_places() -> None:
    assert entered(ConnectionLimits(3, refused=9, address_share=1.0), *[CALLER] * 4) == [
        None,
        None,
        None,
        RefusalReason.LIMIT,
    ]


def test_the_smallest_share_is_one_connection() -> None:
    assert entered(ConnectionLimits(3, refused=9, address_share=0.01), CALLER, CALLER) == [None, RefusalReason.ADDRESS]


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    places = ConnectionLimits(4, refused=9, address_share=0.25)
    assert entered(places, "2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1") == [None, RefusalReason.ADDRESS, None]
    assert entered(places, "fe80::1%eth0", "fe80::2%eth0") == [None, RefusalReason.ADDRESS]


def test_mapped_ipv4_addresses_are_counted_separately() -> None:
    places = ConnectionLimits(4, refused=9, address_share=0.25)
    assert entered(places, f"::ffff:{CALLER}", f"::ffff:{OTHER}", CALLER) == [None, None, RefusalReason.ADDRESS]


def test_who_leaves_gives_its_place_back() -> None:
    places = ConnectionLimits(2, refused=1, address_share=0.5)
    refusals = entered(places, CALLER, CALLER)
    crowded = [places.has_too_many_refused]
    refusals += [places.admit(CALLER, is_allowed=False)]
    crowded += [places.has_too_many_refused]
    for refusal in refusals:
        places.release(CALLER, refusal)
    assert [*crowded, places.has_too_many_refused] == [False, True, False]
    assert (places.admitted, places.refused) == (0, 0)
    assert entered(places, CALLER) == [None]


@given(st.integers(8, 2_000_000), st.integers(1, 1_000_000), st.integers(1, 1_000_000))
def test_what_is_shared_never_exceeds_the_limit_of_files(files: int, connections: int, pools: int) -> None:
    capacity = share_files(files, connections=connections, pools=pools)
    assert capacity.connections + capacity.refused + capacity.upstreams < files
    assert 1 <= capacity.connections <= connections
    assert capacity.refused >= 1
    assert capacity.upstreams >= min(pools, capacity.connections)


def test_enough_files_change_nothing() -> None:
    capacity = share_files(20_000, connections=10_000, pools=256)
    assert capacity.connections == 10_000
    assert capacity.upstreams > 256


def test_an_episode_is_logged_once() -> None:
    now = 0.0
    episodes = EventDeduplicator(lambda: now)
    assert [episodes.starts_episode("full"), episodes.starts_episode("full"), episodes.starts_episode("other")] == [
        True,
        False,
        True,
    ]
    now += EPISODE_GAP - 1
    assert not episodes.starts_episode("full")
    now += EPISODE_GAP - 1
    assert not episodes.starts_episode("full")
    now += EPISODE_GAP
    assert episodes.starts_episode("full")
