import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.content.redaction import safe_text
from gateway.errors import GatewayError, TokenRefused, TokenUnavailable
from gateway.oauth.failures import FAILURE_KINDS, PERMANENT, failure_remedy
from gateway.oauth.grants import (
    MAX_LIFETIME,
    TokenResponse,
    build_token_request,
    code_form,
    read_revocation,
    read_token_response,
    refresh_form,
    token_form,
    token_key,
)

URL = "https://idcs.example/oauth2/v1/token"
NOW = 1_800_000_000.0
KEY = "k" * 32


def read_response(document: object, status: int = 200, **headers: str) -> TokenResponse:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_token_response(status, fields, json.dumps(document).encode(), now=NOW)


def stamp(epoch: float) -> str:
    return format_datetime(datetime.fromtimestamp(epoch, UTC), usegmt=True)


def test_a_request_is_a_form_with_the_grant_first() -> None:
    request = build_token_request(
        URL, client_id="orders", client_secret="pass", scope="a:443urn:opc b", params={"audience": "x y"}
    )
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["a:443urn:opc b"],
        "audience": ["x y"],
    }
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Authorization"].startswith("Basic ")


def test_without_a_scope_none_is_sent() -> None:
    request = build_token_request(URL, client_id="orders", client_secret="pass", client_auth="post")
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["orders"],
        "client_secret": ["pass"],
    }
    assert "Authorization" not in request.headers


@pytest.mark.parametrize("name", ["scope", "client_secret", "grant_type"])
def test_scope_and_params_never_overwrite_each_other(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        build_token_request(
            URL, client_id="a", client_secret="b", client_auth="post", scope="s", params={name: "other"}
        )


GRANT_BODIES = [
    ("client_credentials", {}, b"grant_type=client_credentials&scope=a+b"),
    (
        "refresh_token",
        {"refresh_token": "r+1/="},
        b"grant_type=refresh_token&refresh_token=r%2B1%2F%3D&scope=a+b",
    ),
    (
        "jwt_bearer",
        {"assertion": "h.c.s"},
        b"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=h.c.s&scope=a+b",
    ),
    (
        "password",
        {"username": "j doe", "password": "p&q=r"},
        b"grant_type=password&username=j+doe&password=p%26q%3Dr&scope=a+b",
    ),
    ("tls_client_auth", {}, b"grant_type=tls_client_auth&scope=a+b"),
    (
        "authorization_code",
        {"code": "c0de", "redirect_uri": "http://127.0.0.1:8400/", "code_verifier": "v" * 43},
        b"grant_type=authorization_code&code=c0de&redirect_uri=http%3A%2F%2F127.0.0.1%3A8400%2F&code_verifier="
        + b"v" * 43,
    ),
]
AUTH_BODIES = [
    ("basic", {"client_secret": "s3"}, b""),
    ("post", {"client_secret": "s3"}, b"&client_id=orders&client_secret=s3"),
    (
        "private_key_jwt",
        {"client_assertion": "x.y.z"},
        (
            b"&client_id=orders"
            b"&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
            b"&client_assertion=x.y.z"
        ),
    ),
    ("tls", {}, b"&client_id=orders"),
    ("none", {}, b"&client_id=orders"),
]


@pytest.mark.parametrize(("way", "proof", "tail"), AUTH_BODIES)
@pytest.mark.parametrize(("grant", "values", "head"), GRANT_BODIES)
def test_every_grant_with_every_client_auth_byte_for_byte(
    *, grant: str, values: dict[str, str], head: bytes, way: str, proof: dict[str, str], tail: bytes
) -> None:
    needed: dict[str, Any] = values | proof
    request = build_token_request(URL, client_id="orders", grant=grant, client_auth=way, scope="a b", **needed)
    assert request.body == head + tail
    assert ("Authorization" in request.headers) is (way == "basic")
    for secret in {*values.values(), *proof.values()} - {"j doe", "http://127.0.0.1:8400/"}:
        assert secret in request.secret_texts


def test_the_form_has_scope_audience_resources_params_in_order() -> None:
    request = build_token_request(
        URL,
        client_id="a",
        client_secret="b",
        scope="s",
        audience="https://aud",
        resource=("https://one", "https://two"),
        params={"x": "1"},
    )
    assert request.body == (
        b"grant_type=client_credentials&scope=s&audience=https%3A%2F%2Faud"
        b"&resource=https%3A%2F%2Fone&resource=https%3A%2F%2Ftwo&x=1"
    )


@pytest.mark.parametrize("name", ["audience", "resource"])
def test_audience_and_resource_are_not_sent_twice(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        build_token_request(URL, client_id="a", client_secret="b", audience="x", resource=["y"], params={name: "z"})


@pytest.mark.parametrize(("grant", "values", "head"), [row for row in GRANT_BODIES if row[1]])
def test_an_empty_value_is_never_sent(grant: str, values: dict[str, str], head: bytes) -> None:
    for name in values:
        with pytest.raises(ValueError, match=f"the {name.replace('_', ' ')} is empty"):
            token_form(grant, **(values | {name: ""}))


def test_the_two_forms_of_a_sign_in() -> None:
    assert code_form("c", redirect_uri="http://127.0.0.1/", code_verifier="v") == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": "http://127.0.0.1/",
        "code_verifier": "v",
    }
    assert refresh_form("r") == {"grant_type": "refresh_token", "refresh_token": "r"}
    assert refresh_form("r", scope="s") == {"grant_type": "refresh_token", "refresh_token": "r", "scope": "s"}


def test_scope_leaves_audience_alone() -> None:
    body = build_token_request(
        URL, client_id="a", client_secret="b", scope="s", params={"audience": "x", "resource": "y"}
    ).body
    assert parse_qs(body.decode()) | {"grant_type": [""]} == {
        "grant_type": [""],
        "scope": ["s"],
        "audience": ["x"],
        "resource": ["y"],
    }


@pytest.mark.parametrize(("client_id", "secret"), [("", "b"), ("a", "")])
def test_an_empty_secret_is_never_sent(client_id: str, secret: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        build_token_request(URL, client_id=client_id, client_secret=secret)


def test_a_request_shows_only_its_url() -> None:
    request = build_token_request(URL, client_id="orders", client_secret="pass-horse", client_auth="post")
    assert repr(request) == f"TokenRequest(url='{URL}')"


def test_the_key_depends_on_all_that_distinguishes_tokens() -> None:
    first = token_key(URL, client_id="a", grant="g", scope="s", params={"x": "1", "y": "2"})
    assert first == token_key(URL, client_id="a", grant="g", scope="s", params={"y": "2", "x": "1"})
    others = {
        token_key(URL + "/", client_id="a", grant="g", scope="s", params={"x": "1", "y": "2"}),
        token_key(URL, client_id="b", grant="g", scope="s", params={"x": "1", "y": "2"}),
        token_key(URL, client_id="a", grant="h", scope="s", params={"x": "1", "y": "2"}),
        token_key(URL, client_id="a", grant="g", scope=None, params={"x": "1", "y": "2"}),
        token_key(URL, client_id="a", grant="g", scope="s", params={"x": "12", "y": ""}),
        token_key(URL, client_id="a", grant="g", scope="s"),
        token_key(URL, client_id="a", grant="g", scope="s", params={"x": "1", "y": "2"}, audience="a"),
        token_key(URL, client_id="a", grant="g", scope="s", params={"x": "1", "y": "2"}, resource=["a"]),
        token_key(URL, client_id="a", grant="g", scope="s", params={"x": "1", "y": "2"}, resource=["a", "b"]),
        token_key(URL, client_id="a", grant="g", scope="s", params={"x": "1", "y": "2"}, user="a"),
        token_key(URL, client_id="a", grant="g", scope="s", params={"x": "1", "y": "2"}, owner="a"),
    }
    assert len(others | {first}) == 12


def test_a_token_and_its_life_are_read() -> None:
    reply = read_response({"access_token": "abc", "token_type": "bEARER", "expires_in": 3600}, date=stamp(NOW))
    assert reply == TokenResponse("abc", expires_in=3600.0, date=NOW)
    assert "abc" not in repr(reply)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (3600, 3600.0),
        (59.5, 59.5),
        ("3600", 3600.0),
        (" 60 ", 60.0),
        (None, None),
        (True, None),
        (False, None),
        (0, 0.0),
        (-1, 0.0),
        ("-5", 0.0),
        ("0", 0.0),
        (float("nan"), None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ([], None),
        ({}, None),
        (float("-inf"), 0.0),
        (float("inf"), MAX_LIFETIME),
        ("inf", MAX_LIFETIME),
        (10**400, MAX_LIFETIME),
        (-(10**400), 0.0),
        (10**12, MAX_LIFETIME),
    ],
)
def test_every_expires_in_is_settled(value: object, seconds: float | None) -> None:
    assert read_response({"access_token": "abc", "expires_in": value}).expires_in == seconds


@pytest.mark.parametrize("kind", [None, "", "Bearer", "BEARER"])
def test_a_missing_token_type_is_bearer(kind: str | None) -> None:
    assert read_response({"access_token": "abc", "token_type": kind}).value == "abc"


@pytest.mark.parametrize("kind", ["mac", "DPoP", 7, ["Bearer"]])
def test_another_token_type_is_no_bearer(kind: object) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_response({"access_token": "abc", "token_type": kind})
    assert caught.value.reason.startswith("token-type:")


@pytest.mark.parametrize(
    "value",
    ["", " ", "a b", "a\r\nX-Evil: 1", "a\x00", "é", "a\t", "\u2028", "x" * 65537, None, 7, ["abc"], {"a": 1}, True],
)
def test_a_token_that_is_not_safe_in_a_header_is_none(value: object) -> None:
    with pytest.raises(TokenUnavailable):
        read_response({"access_token": value})


def test_a_token_of_64_kib_is_taken() -> None:
    assert read_response({"access_token": "x" * 65536}).value == "x" * 65536


EMPTY: list[object] = [None, "", False, 0, [], {}]
OTHERS = ("error", "error_description", "token_type", "scope", "refresh_token", "id_token", "tokenResponses")


@pytest.mark.parametrize("value", EMPTY)
@pytest.mark.parametrize("name", OTHERS)
def test_an_empty_field_beside_a_good_token_is_ignored(name: str, value: object) -> None:
    reply = read_response({"access_token": "abc", "expires_in": 60, name: value})
    assert (reply.value, reply.expires_in, reply.refresh_token) == ("abc", 60.0, None)


@pytest.mark.parametrize("value", [None, "", [], {}, False])
def test_an_empty_expires_in_leaves_the_default_life(value: object) -> None:
    assert read_response({"access_token": "abc", "expires_in": value}).expires_in is None


@pytest.mark.parametrize("status", [200, 400, 401])
def test_an_empty_error_without_a_token_is_unreadable(status: int) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_response({"error": "", "access_token": ""}, status)
    assert caught.value.reason.startswith("unreadable: ")


def test_an_error_beside_a_token_counts() -> None:
    with pytest.raises(TokenRefused) as caught:
        read_response({"error": "invalid_scope", "access_token": "abc"})
    assert caught.value.reason.startswith("invalid_scope: ")


def test_a_jwt_has_its_own_lifetime_unverified() -> None:
    value = jwt.encode({"exp": NOW + 600, "iat": NOW}, KEY)
    reply = read_response({"access_token": value})
    assert (reply.claims_exp, reply.claims_iat) == (NOW + 600, NOW)


def test_the_claims_of_a_jwt_are_read_beside_expires_in() -> None:  # they may contradict it: the earlier end wins
    reply = read_response({"access_token": jwt.encode({"exp": NOW + 600}, KEY), "expires_in": 60})
    assert (reply.expires_in, reply.claims_exp) == (60.0, NOW + 600)


@pytest.mark.parametrize("exp", [True, "1800000000", None, -1, 10**400, [], 1e300])
def test_a_malformed_exp_is_ignored(exp: object) -> None:
    header = "eyJhbGciOiJIUzI1NiJ9"
    claims = jwt.utils.base64url_encode(json.dumps({"exp": exp}).encode()).decode()
    assert read_response({"access_token": f"{header}.{claims}.c2ln"}).claims_exp is None


@pytest.mark.parametrize("code", sorted(PERMANENT))
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404])
def test_a_permanent_code_is_refused_whatever_the_status(code: str, status: int) -> None:
    with pytest.raises(TokenRefused) as caught:
        read_response({"error": code, "error_description": "because"}, status)
    assert caught.value.reason == f"{code}: because"
    assert failure_remedy(caught.value) == FAILURE_KINDS[code].remedy


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, {"error": "temporarily_unavailable"}, "temporarily_unavailable"),
        (400, {"error": "server_error"}, "server_error"),
        (400, {"error": "slow_down"}, "slow_down"),
        (429, {"error": "invalid_client"}, "limited"),
        (503, {"error": "invalid_client"}, "invalid_client"),
        (429, None, "limited"),
        (500, {}, "unreadable"),
        (400, {}, "unreadable"),
        (401, {"error": 7}, "unreadable"),
        (401, {"error": "no code at all"}, "unreadable"),
        (403, [], "unreadable"),
        (302, None, "redirect"),
        (200, {}, "unreadable"),
        (200, None, "unreadable"),
        (200, ["access_token"], "unreadable"),
    ],
)
def test_anything_else_is_tried_again(status: int, body: object, code: str) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_response(body, status)
    assert caught.value.reason.partition(":")[0] == code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Sign in</html>",
        b'{"access_token": "abc"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"expires_in": ' + b"9" * 5000 + b', "access_token": "abc"}',
        b"\x00" * 7,
    ],
)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 407, 502])
def test_what_cannot_be_read_is_never_a_refusal(body: bytes, status: int) -> None:
    with pytest.raises(TokenUnavailable):
        read_token_response(status, {}, body, now=NOW)


def test_several_resources_are_explained() -> None:
    with pytest.raises(TokenRefused) as caught:
        read_response({"tokenResponses": [{"access_token": "abc"}]})
    assert "one resource per credential" in failure_remedy(caught.value)


AUDIENCES = ["https://ONE:443", "https://TWO:443"]
BOTH = "https://ONE:443urn:opc:resource:consumer::all https://TWO:443/ic/api/"


def several(*tokens: dict[str, object]) -> bytes:
    return json.dumps({"tokenResponses": tokens}).encode()


def one(audience: object, scope: object = "urn:opc:resource:consumer::all", **more: object) -> dict[str, object]:
    return {"access_token": jwt.encode({"aud": audience, "scope": scope}, KEY), "expires_in": 60, **more}


@pytest.mark.parametrize(
    ("scope", "resource", "place"),
    [
        ("https://ONE:443urn:opc:resource:consumer::all urn:opc:resource:multiresourcescope", (), 0),
        ("urn:opc:resource:expiry=90 https://TWO:443/ic/api/ offline_access", (), 1),
        (BOTH, ("https://TWO:443",), 1),
        (BOTH, ("https://ONE:443",), 0),
        (BOTH, (), None),
        (BOTH, AUDIENCES, None),
        (None, (), None),
        (BOTH, ("https://THREE:443",), None),
        ("https://TWO:443", ("https://ONE:443/",), None),
    ],
)
def test_of_several_tokens_the_one_asked_for_is_taken(
    scope: str | None, resource: tuple[str], place: int | None
) -> None:
    token_request = build_token_request(URL, client_id="a", client_secret="b", scope=scope, resource=resource)
    tokens = [one(AUDIENCES[0], refresh_token="r-1"), one([AUDIENCES[1], "x"], "/ic/api/ other", refresh_token="r-2")]
    if place is None:
        with pytest.raises(TokenRefused) as caught:
            read_token_response(200, {}, several(*tokens), now=NOW, wanted_resource=token_request.wanted_resource)
        assert caught.value.reason.startswith("several-resources: ")
        return
    reply = read_token_response(200, {}, several(*tokens), now=NOW, wanted_resource=token_request.wanted_resource)
    assert (reply.value, reply.refresh_token) == (tokens[place]["access_token"], f"r-{place + 1}")


@pytest.mark.parametrize(
    "answers",
    [None, {}, [], "x", [7], [{}], [{"access_token": 7}], [one("s"), one("s")], [one(7, 7)], [one(None, ["s"])]],
)
def test_several_tokens_of_any_other_shape_are_refused(answers: object) -> None:
    with pytest.raises(TokenRefused):
        read_token_response(200, {}, json.dumps({"tokenResponses": answers}).encode(), now=NOW, wanted_resource="s")


def test_a_refresh_token_is_handed_on_and_never_shown() -> None:
    reply = read_response({"access_token": "abc", "refresh_token": "rt-1"})
    assert reply.refresh_token == "rt-1"
    assert "rt-1" not in repr(reply)


@pytest.mark.parametrize("value", [None, "", 7, ["a"], "a b", "a\r\nb"])
def test_an_odd_refresh_token_is_none(value: object) -> None:
    assert read_response({"access_token": "abc", "refresh_token": value}).refresh_token is None


@pytest.mark.parametrize(
    ("retry_after", "date", "seconds"),
    [
        ("7", "", 7.0),
        (" 7 ", "", 7.0),
        ("7\x1f", "", 7.0),
        (stamp(NOW + 30), "", 30.0),
        (stamp(NOW + 30), stamp(NOW + 10), 20.0),
        (stamp(NOW - 30), "", 0.0),
        ("-7", "", None),
        ("soon", "", None),
        ("7.5", "", None),
        ("9" * 5000, "", None),
        ("\u0667", "", None),
        ("", "", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(retry_after: str, date: str, seconds: float | None) -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_token_response(503, {"Retry-After": retry_after, "DATE": date}, b"", now=NOW)
    assert caught.value.retry_after == seconds


def test_a_reason_never_quotes_the_secret_or_a_token() -> None:
    request = build_token_request(URL, client_id="orders", client_secret="pass horse+", client_auth="basic")
    value = jwt.encode({"exp": 1}, KEY)
    echo = f"bad pass horse+ pass%20horse%2B {request.headers['Authorization']} {value}\r\n\x1b[31m" + "x" * 999
    body = json.dumps({"error": "invalid_client", "error_description": echo}).encode()
    with pytest.raises(TokenRefused) as caught:
        read_token_response(401, {}, body, now=NOW, secret_texts=request.secret_texts)
    assert caught.value.reason.startswith("invalid_client: bad *** *** Basic *** ***???[31mxxx")
    assert len(caught.value.reason) < 250


def test_an_unknown_code_that_is_the_secret_is_blotted_out() -> None:
    with pytest.raises(TokenUnavailable) as caught:
        read_token_response(400, {}, b'{"error": "hunter2"}', now=NOW, secret_texts=("hunter2",))
    assert "hunter2" not in caught.value.reason


def test_the_longer_secret_is_blotted_out_first() -> None:
    assert safe_text("abc", secret_texts=("ab", "abc", "")) == "***"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("access_token", "token_type", "expires_in", "error", "error_description", "tokenResponses")
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), VALUES).map(lambda value: json.dumps(value).encode())
JWTS = st.text("eyJ.-_abcdefghi0123456789=", max_size=60).map(
    lambda value: json.dumps({"access_token": value}).encode()
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "retry-after", "Date", "X"]), st.text() | st.just("Mon, 1 Jan")
)


def outcome(status: int, headers: dict[str, str], body: bytes) -> TokenResponse | TokenRefused | TokenUnavailable:
    try:
        return read_token_response(status, headers, body, now=NOW)
    except (TokenRefused, TokenUnavailable) as error:
        return error


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 999), HEADERS, st.binary() | DOCUMENTS | JWTS)
def test_any_answer_is_a_token_or_one_of_two_errors(status: int, headers: dict[str, str], body: bytes) -> None:
    read_response = outcome(status, headers, body)
    if isinstance(read_response, TokenResponse):
        assert 200 <= status < 300
        assert read_response.value.isascii()
        assert read_response.value.isprintable()
        assert " " not in read_response.value
        assert read_response.expires_in is None or 0 <= read_response.expires_in <= MAX_LIFETIME
    else:
        assert read_response.reason.partition(":")[0]
        assert read_response.reason.isprintable()
        assert (read_response.retry_after or 0.0) >= 0


def test_a_refresh_token_beside_no_usable_token_is_not_lost() -> None:
    useless: list[dict[str, Any]] = [{}, {"access_token": "a", "token_type": "mac"}, {"tokenResponses": [{}, {}]}]
    for document in useless:
        with pytest.raises((TokenRefused, TokenUnavailable)) as caught:
            read_response({**document, "refresh_token": "r-1"})
        assert vars(caught.value)["new_refresh_token"] == "r-1"
        assert "r-1" not in repr(caught.value) + caught.value.reason


def test_a_refresh_token_beside_several_tokens_is_handed_on() -> None:
    both = [{"access_token": "a", "scope": "one"}, {"access_token": "b", "scope": "two"}]
    reply = read_token_response(
        200, {}, json.dumps({"tokenResponses": both, "refresh_token": "r-1"}).encode(), now=NOW, wanted_resource="two"
    )
    assert (reply.value, reply.refresh_token) == ("b", "r-1")


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    [
        (401, b'{"error":"invalid_client"}', TokenRefused, "invalid_client"),
        (400, b'{"error":"unsupported_token_type"}', TokenUnavailable, "unsupported_token_type"),
        (503, b"<html>", TokenUnavailable, "unreadable"),
        (302, b"", TokenUnavailable, "redirect"),
        (429, b"", TokenUnavailable, "limited"),
    ],
)
def test_what_a_revocation_endpoint_refuses(status: int, body: bytes, kind: type[GatewayError], code: str) -> None:
    with pytest.raises(kind) as caught:
        read_revocation(status, {"Retry-After": "5"}, body)
    assert caught.value.reason.startswith(f"{code}: ")


def test_a_revocation_that_is_done() -> None:  # RFC 7009 2.2: whatever the body
    read_revocation(200, {}, b"whatever")
