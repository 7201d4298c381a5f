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
        (f"{AUDIENCE}/{TRIGGER}", RIGHT, "took out the slash before `urn`"),
        (f"{AUDIENCE}//{TRIGGER}", RIGHT, "took out the slash before `urn`"),
        (f"{AUDIENCE[:-4]}{TRIGGER}", RIGHT, "put `:443`"),
        (f"{AUDIENCE[:-4]}/{TRIGGER}", RIGHT, "put `:443`"),
        (f"{AUDIENCE[:-4]}/{TRIGGER}", RIGHT, "took out the slash before `urn`"),
        (f"{AUDIENCE[:-4]}/ic/api/", RIGHT_API, "put `:443`"),
        (f"{AUDIENCE}/ic/api", RIGHT_API, "wrote the ending /ic/api/ out"),
        (f"{AUDIENCE}ic/api/", RIGHT_API, "wrote the ending /ic/api/ out"),
        (f"{AUDIENCE}urn:opc:resource:consumer:all", RIGHT, "wrote the ending urn"),
        (f"{AUDIENCE}urn:opc:resource:consumer::", RIGHT, "wrote the ending urn"),
        (f"{AUDIENCE}urn:opc:resource:consumer", RIGHT, "wrote the ending urn"),
        (f"{AUDIENCE}URN:OPC:resource:consumer::ALL", RIGHT, "wrote the ending urn"),
        (f"{AUDIENCE} {TRIGGER}", RIGHT, "took out the white space within it"),
        (f"{AUDIENCE}\n{TRIGGER}", RIGHT, "took out the white space within it"),
        (RIGHT.replace("phoenix", "pho enix"), RIGHT, "took out the white space within it"),
        (f" {RIGHT}\t", RIGHT, "white space around"),
        (f'"{RIGHT}"', RIGHT, "quotes around"),
        (AUDIENCE, RIGHT, f"put {TRIGGER} behind the audience"),
        (f"{AUDIENCE}/", RIGHT, f"put {TRIGGER} behind the audience"),
        (AUDIENCE[:-4], RIGHT, "put `:443`"),
        (HASH, RIGHT, "put the instance's domain behind the audience alone"),
        (HASH.lower(), RIGHT, "in capitals"),
        (RIGHT.lower(), RIGHT, "in capitals"),
        (RIGHT.replace("oraclecloud", "OracleCloud"), RIGHT, "in small letters"),
        (RIGHT.replace("https://", ""), RIGHT, "wrote https:// before"),
        (RIGHT.replace("https", "http"), RIGHT, "wrote https:// before"),
        ("https%3A%2F%2F" + RIGHT[8:].replace(":", "%3A"), RIGHT, "decoded it"),
        (f"{RIGHT} {RIGHT}", RIGHT, "left off what stood there twice"),
        (f"{RIGHT}  urn:opc:resource:expiry=600", f"{RIGHT} urn:opc:resource:expiry=600", "single blanks"),
        (f"urn:opc:resource:expiry=600 {RIGHT}", f"{RIGHT} urn:opc:resource:expiry=600", "in order"),
        (f"{RIGHT} urn:opc:resource:expiry=600", f"{RIGHT} urn:opc:resource:expiry=600", ""),
        (TRIGGER, TRIGGER, ""),
        ("orders.read orders.write", "orders.read orders.write", ""),
        ("https://api.example.com/.default", "https://api.example.com/.default", ""),
        (f"{AUDIENCE}urn:opc:resource:other", f"{AUDIENCE}urn:opc:resource:other", ""),
    ],
)
def test_the_scope_is_found(text: str, value: str, change: str) -> None:
    found = scope(text, ORDERS)
    assert found.value == value
    assert change in " ".join(found.changes)
    assert bool(found.changes) == bool(change)
    again = scope(value, ORDERS)
    assert (again.value, again.changes) == (value, ())


@pytest.mark.parametrize("text", [HASH, AUDIENCE, f"{AUDIENCE}/", AUDIENCE[:-4]])
def test_the_developer_api_has_a_scope_of_its_own(text: str) -> None:
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
def test_what_is_no_scope_is_explained(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what) as caught:
        scope(text, ORDERS)
    assert "; " in str(caught.value)


def test_of_several_the_one_that_fits_is_named() -> None:
    with pytest.raises(InvalidInput, match="ends with `/ic/api/` for the developer API"):
        scope(f"{RIGHT} {RIGHT_API}", DEVELOPER)


@pytest.mark.parametrize(
    ("text", "leads", "note"),
    [
        (RIGHT, ORDERS, ""),
        (RIGHT_API, DEVELOPER, ""),
        (RIGHT_API, ORDERS, "opens the developer API only"),
        (RIGHT.replace(HASH, "acme"), ORDERS, "not the name of the instance"),
        (RIGHT.replace("phoenix", "ashburn"), ORDERS, "another region"),
        (RIGHT, Integration("https://oic.example.com/"), ""),
        (f"{RIGHT_API} urn:opc:resource:expiry=600", ORDERS, "opens the developer API only"),
    ],
)
def test_what_may_be_wrong_is_noted_and_kept(text: str, leads: Integration, note: str) -> None:
    found = scope(text, leads)
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
def test_correcting_twice_changes_nothing(text: str, leads: Integration) -> None:
    try:
        once = scope(text, leads)
    except InvalidInput:
        return
    twice = scope(once.value, leads)
    assert (twice.value, twice.changes) == (once.value, ())


@given(st.text())
def test_any_text_is_corrected_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert scope(text, ORDERS).value.isprintable()
