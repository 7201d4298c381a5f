import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.corrections.integration_url import Integration, integration
from gateway.config.corrections.pasted_scope import scope
from gateway.config.corrections.pasted_text import InvalidInput
from gateway.oic.scopes import API_PERMISSION as API
from gateway.oic.scopes import TRIGGER_PERMISSION as TRIGGER

HASH = "0123456789ABCDEF0123456789ABCDEF"
TAIL = "integration.us-phoenix-1.ocp.oraclecloud.com"
AUDIENCE = f"https://{HASH}.{TAIL}:443"
RIGHT = AUDIENCE + TRIGGER
RIGHT_API = AUDIENCE + API
ORDERS = integration(f"https://acme.{TAIL}/ic/api/integration/v1/flows/rest/ORDERS/1.0/")
DEVELOPER = integration(f"https://acme.{TAIL}/ic/api/integration/v1/integrations")


@pytest.mark.parametrize(
    ("text", "value", "change"),
    [
        (RIGHT, RIGHT, ""),
        (RIGHT_API, RIGHT_API, ""),
        (f"{AUDIENCE}/{TRIGGER}", RIGHT, "removed the slash before `urn`"),
        (f"{AUDIENCE}//{TRIGGER}", RIGHT, "removed the slash before `urn`"),
        (f"{AUDIENCE[:-4]}{TRIGGER}", RIGHT, "added `:443`"),
        (f"{AUDIENCE[:-4]}/{TRIGGER}", RIGHT, "added `:443`"),
        (f"{AUDIENCE[:-4]}/{TRIGGER}", RIGHT, "removed the slash before `urn`"),
        (f"{AUDIENCE[:-4]}/ic/api/", RIGHT_API, "added `:443`"),
        (f"{AUDIENCE}/ic/api", RIGHT_API, "completed the ending /ic/api/"),
        (f"{AUDIENCE}ic/api/", RIGHT_API, "completed the ending /ic/api/"),
        (f"{AUDIENCE}urn:opc:resource:consumer:all", RIGHT, "completed the ending urn"),
        (f"{AUDIENCE}urn:opc:resource:consumer::", RIGHT, "completed the ending urn"),
        (f"{AUDIENCE}urn:opc:resource:consumer", RIGHT, "completed the ending urn"),
        (f"{AUDIENCE}URN:OPC:resource:consumer::ALL", RIGHT, "completed the ending urn"),
        (f"{AUDIENCE} {TRIGGER}", RIGHT, "removed white space within the value"),
        (f"{AUDIENCE}\n{TRIGGER}", RIGHT, "removed white space within the value"),
        (RIGHT.replace("phoenix", "pho enix"), RIGHT, "removed white space within the value"),
        (f" {RIGHT}\t", RIGHT, "white space around"),
        (f'"{RIGHT}"', RIGHT, "quotes around"),
        (AUDIENCE, RIGHT, f"added {TRIGGER} to the audience"),
        (f"{AUDIENCE}/", RIGHT, f"added {TRIGGER} to the audience"),
        (AUDIENCE[:-4], RIGHT, "added `:443`"),
        (HASH, RIGHT, "added the domain of the instance to the audience"),
        (HASH.lower(), RIGHT, "to upper case"),
        (RIGHT.lower(), RIGHT, "to upper case"),
        (RIGHT.replace("oraclecloud", "OracleCloud"), RIGHT, "to lower case"),
        (RIGHT.replace("https://", ""), RIGHT, "added https:// before"),
        (RIGHT.replace("https", "http"), RIGHT, "added https:// before"),
        ("https%3A%2F%2F" + RIGHT[8:].replace(":", "%3A"), RIGHT, "decoded the percent-encoding"),
        (f"{RIGHT} {RIGHT}", RIGHT, "removed a repeated resource"),
        (f"{RIGHT}  urn:opc:resource:expiry=600", f"{RIGHT} urn:opc:resource:expiry=600", "repetition or spacing"),
        (f"urn:opc:resource:expiry=600 {RIGHT}", f"{RIGHT} urn:opc:resource:expiry=600", "changed the order"),
        (f"{RIGHT} urn:opc:resource:expiry=600", f"{RIGHT} urn:opc:resource:expiry=600", ""),
        (TRIGGER, TRIGGER, ""),
        ("orders.read orders.write", "orders.read orders.write", ""),
        ("https://api.example.com/.default", "https://api.example.com/.default", ""),
        (f"{AUDIENCE}urn:opc:resource:other", f"{AUDIENCE}urn:opc:resource:other", ""),
    ],
)
def test_scope_is_derived_from_pasted_text(text: str, value: str, change: str) -> None:
    found = scope(text, ORDERS)
    assert found.value == value
    assert change in " ".join(found.changes)
    assert bool(found.changes) == bool(change)
    again = scope(value, ORDERS)
    assert (again.value, again.changes) == (value, ())


@pytest.mark.parametrize("text", [HASH, AUDIENCE, f"{AUDIENCE}/", AUDIENCE[:-4]])
def test_developer_api_route_gets_its_permission(text: str) -> None:
    assert scope(text, DEVELOPER).value == RIGHT_API


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        (f"{RIGHT} {RIGHT_API}", "several resources.*keep the one that ends with `urn"),
        (f"{RIGHT} {TRIGGER}", "several resources"),
        (f"{RIGHT} {RIGHT.replace('0123', '4567')}", "several resources"),
        (f"{RIGHT} orders.read", "several resources"),
        ("urn:opc:resource:expiry=600", "names no resource"),
        (f"{AUDIENCE}/ic/integration/home", "is a URL of the instance, not a scope"),
        (f"{AUDIENCE}/ic/api/integration/v1/integrations", "is a URL of the instance, not a scope"),
        (ORDERS.upstream, "is a URL of the instance, not a scope"),
        ("sco\\pe", "has a character"),
        ('a"b', "has a character"),
        ("scöpe", "has a character"),
    ],
)
def test_other_texts_are_rejected_with_a_reason(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as caught:
        scope(text, ORDERS)
    assert "; " in str(caught.value)


def test_rejection_names_the_resource_that_fits() -> None:
    with pytest.raises(InvalidInput, match="ends with `/ic/api/` for the developer API"):
        scope(f"{RIGHT} {RIGHT_API}", DEVELOPER)


@pytest.mark.parametrize(
    ("text", "target", "note"),
    [
        (RIGHT, ORDERS, ""),
        (RIGHT_API, DEVELOPER, ""),
        (RIGHT_API, ORDERS, "is for the developer API only"),
        (RIGHT.replace(HASH, "acme"), ORDERS, "not the name of the instance"),
        (RIGHT.replace("phoenix", "ashburn"), ORDERS, "another region"),
        (RIGHT, Integration("https://oic.example.com/"), ""),
        (f"{RIGHT_API} urn:opc:resource:expiry=600", ORDERS, "is for the developer API only"),
    ],
)
def test_possible_mistakes_give_notes_and_no_changes(text: str, target: Integration, note: str) -> None:
    found = scope(text, target)
    assert (found.value, found.changes) == (text, ())
    assert note in " ".join(found.notes)
    assert bool(found.notes) == bool(note)


PIECES = [
    "https://",
    HASH,
    HASH.lower(),
    f".{TAIL}",
    ":443",
    "/",
    "urn:opc:resource:consumer",
    "::all",
    "/ic/api/",
    " ",
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=9).map("".join), st.sampled_from([ORDERS, DEVELOPER, Integration("")])
)
def test_corrected_scope_needs_no_more_changes(text: str, target: Integration) -> None:
    try:
        once = scope(text, target)
    except InvalidInput:
        return
    twice = scope(once.value, target)
    assert (twice.value, twice.changes) == (once.value, ())


@given(st.text())
def test_any_text_is_corrected_or_rejected(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert scope(text, ORDERS).value.isprintable()
