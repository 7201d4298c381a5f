import base64
import html
import json
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from gateway.content.redaction import MAX_LENGTH, WITHHELD, safe_text
from gateway.oauth.client_auth import redactions

SECRET = "k9$Qv+7/rT<x&Zu\"2mW'ü!pL"


def b64(text: str, before: str = "", after: str = "") -> str:
    return base64.b64encode(f"{before}{text}{after}".encode()).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "url": lambda text: quote(text, safe=""),
    "url, lower case": lambda text: quote(text, safe="").lower().replace("%c3%bc", "%C3%BC"),
    "url, some characters": quote,
    "form": quote_plus,
    "url twice": lambda text: quote(quote(text, safe=""), safe=""),
    "html": html.escape,
    "html twice": lambda text: html.escape(html.escape(text)),
    "html, decimal": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "html, hexadecimal": lambda text: "".join(f"&#x{ord(letter):X};" for letter in text),
    "json": lambda text: json.dumps(text)[1:-1],
    "json twice": lambda text: json.dumps(json.dumps(text)),
    "json, every character": lambda text: "".join(f"\\u{ord(letter):04x}" for letter in text),
    "python": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode("latin-1")),
    "base64": b64,
    "base64, one character on": lambda text: b64(text, ":", "x"),
    "base64, two characters on": lambda text: b64(text, "id", "x"),
    "base64url": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 in lines": lambda text: "\r\n ".join(b64(text)[start : start + 8] for start in range(0, 99, 8)),
    "base64 in a url": lambda text: quote(b64(text), safe=""),
    "hex": lambda text: text.encode().hex(),
    "hex, upper case": lambda text: text.encode().hex().upper(),
    "hex with colons": lambda text: text.encode().hex(":"),
    "hex with blanks": lambda text: text.encode().hex(" "),
    "html of base64": lambda text: html.escape(b64(text)),
}
CUTS = {"whole": slice(None), "beginning": slice(0, 14), "end": slice(-14, None), "middle": slice(5, 19)}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_no_encoding_of_a_secret_is_shown(encode: Callable[[str], str], cut: slice) -> None:
    message = f"client_secret={encode(SECRET[cut])}, which is wrong"
    shown = safe_text(message, secret_texts=redactions(SECRET))
    assert shown in {WITHHELD, "client_secret=***, which is wrong"}
    if cut == slice(None):
        assert safe_text(message[: len(message) - 25], secret_texts=redactions(SECRET)) in {
            WITHHELD,
            "client_secret=***",
        }


@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
def test_a_cut_encoding_of_a_plain_secret_is_not_shown(encode: Callable[[str], str]) -> None:
    secret = "5f3c1e9a-77b2-4c0d-9e1f-aa02b6d4c8e7"
    encoded = encode(secret)
    for part in (encoded[: len(encoded) // 2], encoded[len(encoded) // 2 :], encoded[5:-5]):
        assert safe_text(f"wrong: {part}.", secret_texts=redactions(secret)) == WITHHELD


@pytest.mark.parametrize(
    "text",
    [
        "Client authentication failed.",
        "The client_id 3f2a7c is not known to https://idcs-0123.identity.oraclecloud.com:443/oauth2/v1/token",
        "invalid scope urn:opc:resource:consumer::all &amp; %20 \\u0041 YWJjZGVmZ2hpamtsbW5vcA== 00ff00ff00ff",
        "",
    ],
)
def test_what_shares_nothing_with_a_secret_is_shown(text: str) -> None:
    assert safe_text(text, secret_texts=redactions(SECRET)) == text


def test_a_short_secret_is_struck_out() -> None:
    assert safe_text("wrong: pw7x", secret_texts=("pw7x",)) == "wrong: ***"
    assert safe_text("wrong: PW7X", secret_texts=("pw7x",)) == WITHHELD


def test_a_secret_that_is_cut_by_the_bound_is_not_shown() -> None:
    assert "k9$Q" not in safe_text("*" * (MAX_LENGTH - 9) + SECRET, secret_texts=(SECRET,), limit=MAX_LENGTH)


@pytest.mark.parametrize(
    "piece", ["eyJ", "-eyJ", "eyJ.", "&amp;", "&#38;", "%25", "\\\\", "\\u005c", "aaaaaaaa ", "ab "]
)
def test_a_hostile_text_costs_little(piece: str) -> None:
    secret_texts = (*redactions(SECRET), *redactions("r" * 60 + "eyJhbGciOi.eyJzdWIiOi" * 50))
    before = time.process_time()
    for _ in range(10):
        safe_text(piece * 500_000, secret_texts=secret_texts)
    assert time.process_time() - before < 20  # of this process alone; a quadratic step would take hours
