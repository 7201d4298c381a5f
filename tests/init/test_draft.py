from hypothesis import given
from hypothesis import strategies as st

from gateway.config.yaml_document import YamlDocument
from gateway.init.draft import Draft, scalar, text_of

DRAFT = Draft(
    token_url="https://idcs.example/oauth2/v1/token",
    client_id="12345",
    secret_file="./orders.secret",
    scope="https://ABC.example:443urn:opc:resource:consumer::all",
    upstream="https://oic.example/ORDERS/1.0/",
    name="orders",
    path="/orders/",
)

# What a YAML reader refuses even in quotes; no path of a file that a person names has it.
PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff"))


def test_the_file_says_what_the_draft_says() -> None:
    tree = YamlDocument(text_of(DRAFT))
    assert not tree.findings
    assert tree.value == {
        "listen": "127.0.0.1:8080",
        "admin": "127.0.0.1:9090",
        "credentials": {
            "orders-app": {
                "grant": "client_credentials",
                "token_url": "https://idcs.example/oauth2/v1/token",
                "client_id": "12345",
                "client_secret": {"file": "./orders.secret"},
                "scope": "https://ABC.example:443urn:opc:resource:consumer::all",
            }
        },
        "routes": [
            {
                "name": "orders",
                "path": "/orders/",
                "upstream": "https://oic.example/ORDERS/1.0/",
                "credential": "orders-app",
            }
        ],
    }


def test_what_is_only_said_where_it_is_wanted() -> None:
    more = Draft(
        **{
            **{key: getattr(DRAFT, key) for key in DRAFT.__slots__},
            "instance": "acme",
            "allow": ("10.0.0.0/8", "fd00::/8"),
        }
    )
    value = YamlDocument(text_of(more)).value
    assert value["allow"] == ["10.0.0.0/8", "fd00::/8"]
    assert value["routes"][0]["query"] == {"set": {"integrationInstance": "acme"}}


@given(PRINTABLE)
def test_a_scalar_means_the_text_itself(text: str) -> None:
    written = scalar(text)
    assert YamlDocument(f"key: {written}\nflow: {{a: {written}}}\n").value == {"key": text, "flow": {"a": text}}


def test_texts_that_yaml_takes_for_something_else_are_quoted() -> None:
    for text in (
        "no",
        "null",
        "True",
        "1e5",
        "0x1f",
        "12:30",
        "~",
        "",
        "a: b",
        "a #b",
        "- a",
        "[a]",
        ".inf",
        "7f0e",
        "123e4",
    ):
        assert scalar(text).startswith('"'), text
    for text in ("orders", "/run/secrets/a", "https://x/y", "127.0.0.1:8080", "./a"):
        assert scalar(text) == text
