"""Limits of connections, the shares of file descriptors, and episodes of events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.connection_limits import ConnectionLimits, RefusalReason
from gateway.observe.episodes import EPISODE_GAP, EventDeduplicator
from gateway.system.descriptor_budget import share_files

CALLER, OTHER = "192.0.2.1", "192.0.2.2"


def admit_all(limits: ConnectionLimits, *addresses: str | None) -> list[RefusalReason | None]:
    return [limits.admit(address, is_allowed=True) for address in addresses]


def test_one_address_leaves_room_for_others() -> None:
    limits = ConnectionLimits(4, refused=9, address_share=0.5)
    assert admit_all(limits, CALLER, CALLER, CALLER) == [None, None, RefusalReason.ADDRESS]
    assert admit_all(limits, OTHER, OTHER, OTHER) == [None, None, RefusalReason.LIMIT]
    assert limits.refusals == {RefusalReason.ADDRESS: 1, RefusalReason.LIMIT: 1}


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", None])
def test_callers_of_this_machine_may_hold_all_places(address: str | None) -> None:
    limits = ConnectionLimits(4, refused=9, address_share=0.25)
    assert admit_all(limits, *[address] * 5) == [None, None, None, None, RefusalReason.LIMIT]


def test_with_share_1_one_address_may_use_all_places() -> None:
    assert admit_all(ConnectionLimits(3, refused=9, address_share=1.0), *[CALLER] * 4) == [
        None,
        None,
        None,
        RefusalReason.LIMIT,
    ]


def test_the_smallest_share_is_one_connection() -> None:
    assert admit_all(ConnectionLimits(3, refused=9, address_share=0.01), CALLER, CALLER) == [
        None,
        RefusalReason.ADDRESS,
    ]


def test_addresses_of_one_ipv6_network_count_as_one() -> None:
    limits = ConnectionLimits(4, refused=9, address_share=0.25)
    assert admit_all(limits, "2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1") == [
        None,
        RefusalReason.ADDRESS,
        None,
    ]
    assert admit_all(limits, "fe80::1%eth0", "fe80::2%eth0") == [None, RefusalReason.ADDRESS]


def test_mapped_ipv4_addresses_are_counted_separately() -> None:
    limits = ConnectionLimits(4, refused=9, address_share=0.25)
    assert admit_all(limits, f"::ffff:{CALLER}", f"::ffff:{OTHER}", CALLER) == [None, None, RefusalReason.ADDRESS]


def test_a_closed_connection_frees_its_place() -> None:
    limits = ConnectionLimits(2, refused=1, address_share=0.5)
    refusals = admit_all(limits, CALLER, CALLER)
    too_many = [limits.has_too_many_refused]
    refusals += [limits.admit(CALLER, is_allowed=False)]
    too_many += [limits.has_too_many_refused]
    for refusal in refusals:
        limits.release(CALLER, refusal)
    assert [*too_many, limits.has_too_many_refused] == [False, True, False]
    assert (limits.admitted, limits.refused) == (0, 0)
    assert admit_all(limits, CALLER) == [None]


@given(st.integers(8, 2_000_000), st.integers(1, 1_000_000), st.integers(1, 1_000_000))
def test_shares_never_exceed_the_limit_of_files(files: int, connections: int, pools: int) -> None:
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
