"""Numbers with more than 4300 digits, for which `int` raises ValueError, and documents that are nested too deeply."""

import os
from typing import Any

import pytest

from gateway.admin.client import parse_object
from gateway.oauth.grants import read_epoch_time
from gateway.rotation.secret_regenerator import OutcomeUnknown, read_new_secret
from gateway.system.passed_sockets import PassedSockets
from gateway.system.peer_credentials import user_id
from gateway.system.service_manager import ServiceManager

LONG = "9" * 5000
NESTED = b"[" * 200_000


def test_long_numbers_in_the_environment_are_no_numbers() -> None:
    PassedSockets({"LISTEN_FDS": LONG, "LISTEN_PID": str(os.getpid())}).require_all_taken()
    assert ServiceManager({"NOTIFY_SOCKET": "@notify", "WATCHDOG_USEC": LONG}).watchdog_interval is None


@pytest.mark.parametrize(("name", "number"), [("0", 0), ("4294967294", 2**32 - 2), ("4294967295", None), (LONG, None)])
def test_a_user_may_be_given_by_its_number(name: str, number: int | None) -> None:
    assert user_id(name) == number


@pytest.mark.parametrize("value", [10**400, 1e300, float("nan"), 0, -1, True, "5", None])
def test_a_claim_that_is_no_possible_time_is_none(value: Any) -> None:
    assert read_epoch_time(value) is None


def test_a_document_that_is_nested_too_deeply_is_unreadable() -> None:
    assert parse_object(NESTED) == {}
    with pytest.raises(OutcomeUnknown):
        read_new_secret(200, NESTED, "token")
