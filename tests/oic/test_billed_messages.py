"""The messages of one call: a lower bound, whatever is not certain counts 0."""

import pytest

from gateway.oic.billed_messages import MESSAGE_SIZE, count_messages
from gateway.oic.message_packs import hourly_messages

REST = "/ic/api/integration/v1/flows/rest/ORDERS/1.0/orders?q=1"
PROJECT = "/ic/api/integration/v2/flows/rest/project/P/ORDERS/1.0/"
SOAP = "/ic/ws/integration/v1/flows/soap/HELLO/1.0/"
OSC = "/ic/ws/integration/v1/flows/osc/SALES/1.0/"
DEVELOPER = "/ic/api/integration/v1/integrations?integrationInstance=x"


@pytest.mark.parametrize(
    ("payload", "messages"),
    [
        (0, 1),
        (1, 1),
        (50_000, 1),
        (MESSAGE_SIZE, 1),
        (MESSAGE_SIZE + 1, 2),
        (2 * MESSAGE_SIZE, 2),
        (10 * 1024 * 1024, 205),
    ],
)
def test_every_50_kb_of_payload_are_a_message(payload: int, messages: int) -> None:
    assert MESSAGE_SIZE == 51_200
    assert count_messages(payload, "POST", REST, 200, has_instance_id=True) == messages


@pytest.mark.parametrize("status", [200, 202, 307, 400, 401, 404, 429, 500, 503])
def test_an_instance_id_proves_a_run_whatever_the_status(status: int) -> None:
    for target in (REST, PROJECT, SOAP, "/custom/path"):
        assert count_messages(0, "POST", target, status, has_instance_id=True) == 1


@pytest.mark.parametrize("status", [101, 301, 304, 307, 400, 401, 403, 404, 405, 415, 429, 500, 502, 503, 504])
def test_a_response_that_may_be_a_refusal_counts_nothing(status: int) -> None:
    for target in (REST, PROJECT, SOAP):
        assert count_messages(9, "POST", target, status, has_instance_id=False) == 0


@pytest.mark.parametrize(
    ("method", "target", "messages"),
    [
        ("POST", REST, 1),
        ("GET", REST, 1),
        ("GET", PROJECT, 1),
        ("DELETE", PROJECT, 1),
        ("POST", SOAP, 1),
        ("POST", OSC, 1),
        ("OPTIONS", REST, 0),
        ("HEAD", REST, 0),
        ("GET", SOAP, 0),
        ("GET", SOAP + "?wsdl", 0),
        ("GET", OSC + "?WSDL", 0),
        ("GET", "/ic/api/integration/v1/flows/rest/ORDERS/1.0/metadata", 0),
        ("GET", "/ic/api/integration/v1/flows/rest/ORDERS/1.0/metadata/swagger", 0),
        ("POST", "/ic/api/integration/v1/flows/rest/ORDERS/1.0/metadata?x", 0),
        ("GET", "/ic/api/integration/v1/flows/rest/ORDERS/1.0/x?of=/metadata", 1),
        ("GET", DEVELOPER, 0),
        ("POST", "/custom/path", 0),
    ],
)
def test_a_success_without_id_counts_for_triggers_alone(method: str, target: str, messages: int) -> None:
    assert count_messages(0, method, target, 200, has_instance_id=False) == messages


def test_an_id_in_a_response_of_the_developer_api_is_no_run() -> None:
    assert count_messages(0, "GET", DEVELOPER, 200, has_instance_id=True) == 0


def test_packs_have_messages_by_the_hour() -> None:
    assert hourly_messages(2, "included") == 10_000
    assert hourly_messages(3, "byol") == 60_000
