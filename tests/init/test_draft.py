from hypothesis import given
from hypothesis import strategies as st

from gateway.config.yaml_document import YamlDocument
from gateway.init.draft import Draft, render, yaml_scalar

DRAFT = Draft(
    token_url="https://idcs.example/oauth2/v1/token",
    client_id="12345",
    secret_file="./orders.secret",
    scope="https://ABC.example:443urn:opc:resource:consumer::all",
    upstream="https://oic.example/ORDERS/1.0/",
    name="orders",
    path="/orders/",
)

# All characters except those that a YAML reader rejects even in quotes.
PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="\ufeff\ufffe\uffff"))


def test_file_contains_the_values_of_the_draft() -> None:
    tree = YamlDocument(render(DRAFT))
    assert not tree.issues
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


def test_comments_name_no_file_of_the_source_tree() -> None:
    assert "docs/" not in render(DRAFT)
    assert "`oic-gateway schema`" in render(DRAFT)


def test_optional_values_are_written_if_they_are_set() -> None:
    more = Draft(
        **{
            **{key: getattr(DRAFT, key) for key in DRAFT.__slots__},
            "instance": "acme",
            "allow": ("10.0.0.0/8", "fd00::/8"),
        }
    )
    value = YamlDocument(render(more)).value
    assert value["allow"] == ["10.0.0.0/8", "fd00::/8"]
    assert value["routes"][0]["query"] == {"set": {"integrationInstance": "acme"}}


@given(PRINTABLE)
def test_scalar_reads_back_as_the_same_text(text: str) -> None:
    written = yaml_scalar(text)
    assert YamlDocument(f"key: {written}\nflow: {{a: {written}}}\n").value == {"key": text, "flow": {"a": text}}


def test_texts_with_another_yaml_meaning_are_quoted() -> None:
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
        assert yaml_scalar(text).startswith('"'), text
    for text in ("orders", "/run/secrets/a", "https://x/y", "127.0.0.1:8080", "./a"):
        assert yaml_scalar(text) == text
