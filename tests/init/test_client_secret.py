import pytest

from gateway.config.corrections.client_secret import client_id, secret_file
from gateway.config.corrections.pasted_text import InvalidInput

ID = "7f0e6a5c4b3d2e1f0a9b8c7d6e5f4a3b"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (ID, ID),
        (f" {ID}\n", ID),
        (f'"{ID}"', ID),
        (f"{ID[:10]} {ID[10:]}", ID),
        (f"{ID[:10]}\n{ID[10:]}", ID),
        ("sandbox-app", "sandbox-app"),
        ("12345", "12345"),
    ],
)
def test_client_id_is_corrected(text: str, value: str) -> None:
    found = client_id(text)
    assert found.value == value
    assert bool(found.changes) == (text != value)
    assert client_id(value).changes == ()


@pytest.mark.parametrize("text", ["", "My OIC application", "é", "a\x00b"])
def test_invalid_client_id_is_rejected(text: str) -> None:
    with pytest.raises(InvalidInput, match="; "):
        client_id(text)


@pytest.mark.parametrize("name", ["./orders.secret", "/run/secrets/orders-app", "../s", "~/s", "/etc/oic/secret-2024"])
def test_future_file_is_accepted_with_its_folder(name: str) -> None:
    assert secret_file(name, exists=False).value == name
    assert secret_file(f" '{name}' ", exists=False).value == name


SECRETS = [
    "5f0c2f0e-8a54-4be1-9c4e-3a5a9d7b1c2d",
    "idcscs-5f0c2f0e-8a54-4be1-9c4e-3a5a9d7b1c2d",
    "correct-horse-battery-staple",
    "Summer.2024!",
    "abc/def+ghi==",
    "/Zm9vYmFyMTIzNDU2Nzg5MEFC==",
    "./5f0c2f0e-8a54-4be1-9c4e-3a5a9d7b1c2d",
    "~hunter2",
    "0123456789abcdef0123456789abcdef",
    "two words",
    "two\nlines",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_possible_secret_is_rejected_and_not_displayed(secret: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        secret_file(secret, exists=False)
    assert secret not in str(caught.value)
    assert "./NAME" in str(caught.value)


@pytest.mark.parametrize("secret", SECRETS)
def test_existing_file_may_have_any_name(secret: str) -> None:
    assert secret_file(secret, exists=True).value == secret


@pytest.mark.parametrize("text", ["/", "./", "/a/b/", "/a\x00b"])
def test_folder_name_is_rejected(text: str) -> None:
    with pytest.raises(InvalidInput, match="names no file"):
        secret_file(text, exists=False)
