"""Web pages of listed origins: preflights, response fields, errors (Fetch standard, CORS protocol)."""

import pytest

from tests.fakes.gate import scene
from tests.fakes.upstream import reply

PAGE, OTHER = "https://intranet.example", "https://evil.example"
ORIGIN = f"Origin: {PAGE}"
PREFLIGHT = [ORIGIN, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,x-api-key"]


def cors_fields(head: bytes) -> dict[str, list[str]]:
    """The fields of a head that a browser reads for CORS."""
    found: dict[str, list[str]] = {}
    for line in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = line.partition(": ")
        if name.lower().startswith("access-control-") or name.lower() == "vary":
            found.setdefault(name, []).append(value)
    return found


async def test_a_preflight_is_answered_by_the_gateway() -> None:
    async with scene(route={"origins": [PAGE], "methods": ["GET", "POST"]}) as at:
        status, head, _ = await at.gate.get("/orders/1", *PREFLIGHT, method="OPTIONS")
        assert (status, at.upstream.connections) == (204, 0)
        fields = cors_fields(head)
        assert fields.pop("Access-Control-Expose-Headers")
        assert fields == {
            "Access-Control-Allow-Origin": [PAGE],
            "Access-Control-Allow-Methods": ["GET, HEAD, POST"],
            "Access-Control-Allow-Headers": ["content-type,x-api-key"],
            "Access-Control-Allow-Credentials": ["true"],
            "Access-Control-Max-Age": ["600"],
            "Vary": ["Access-Control-Request-Method, Access-Control-Request-Headers", "Origin"],
        }
        assert (at.gate.records[0].status, at.gate.records[0].error) == (204, None)


async def test_a_preflight_needs_no_proof_of_a_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "k")
    async with scene(
        callers={"page": {"api_key": {"env": "KEY"}}}, route={"origins": [PAGE], "callers": ["page"]}
    ) as at:
        assert (await at.gate.get("/orders/1", *PREFLIGHT, method="OPTIONS"))[0] == 204
        assert (await at.gate.get("/orders/1", ORIGIN, "X-Api-Key: k"))[0] == 200
        status, head, _ = await at.gate.get("/orders/1", ORIGIN)
        assert (status, cors_fields(head)["Access-Control-Allow-Origin"]) == (401, [PAGE])


async def test_a_page_may_read_the_response_and_its_instance_id() -> None:
    async with scene(route={"origins": [PAGE], "instance_id": [{"header": "X-My-Id"}]}) as at:
        caller = await at.gate.caller()
        for _ in range(2):  # the second head is cached
            await caller.send(f"GET /orders/1 HTTP/1.1\r\nHost: gw\r\n{ORIGIN}\r\n\r\n".encode())
            _, head, _ = await caller.reply()
            fields = cors_fields(head)
            [exposed] = fields.pop("Access-Control-Expose-Headers")
            assert {"x-oracle-ics-instance-id", "X-Request-Id", "X-Gateway-Error", "X-My-Id"} <= set(
                exposed.split(", ")
            )
            assert fields == {
                "Access-Control-Allow-Origin": [PAGE],
                "Access-Control-Allow-Credentials": ["true"],
                "Vary": ["Origin"],
            }


async def test_fields_of_oic_are_replaced() -> None:
    own = ("Access-Control-Allow-Origin: *", "access-control-allow-credentials: false", "Vary: Accept")
    async with scene(reply(200, b"ok", *own), route={"origins": [PAGE]}) as at:
        fields = cors_fields((await at.gate.get("/orders/1", ORIGIN))[1])
        assert fields["Access-Control-Allow-Origin"] == [PAGE]
        assert "access-control-allow-credentials" not in fields
        assert fields["Vary"] == ["Accept", "Origin"]


async def test_any_origin_gets_no_credentials() -> None:
    async with scene(route={"origins": ["*"]}) as at:
        fields = cors_fields((await at.gate.get("/orders/1", f"Origin: {OTHER}"))[1])
        assert fields.pop("Access-Control-Expose-Headers")
        assert fields == {"Access-Control-Allow-Origin": ["*"]}
        assert (await at.gate.get("/orders/1", "Origin: null"))[0] == 200


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
async def test_another_origin_is_refused_and_may_read_nothing(method: str) -> None:
    async with scene(route={"origins": [PAGE]}) as at:
        fields = [f"Origin: {OTHER}", *PREFLIGHT[1:]]
        status, head, _ = await at.gate.get("/orders/1", *fields, method=method)
        assert (status, cors_fields(head)) == (403, {"Vary": ["Origin"]})
        assert at.upstream.connections == 0


async def test_errors_of_the_gateway_can_be_read_by_the_page() -> None:
    async with scene(route={"origins": [PAGE], "methods": ["GET"]}) as at:
        status, head, _ = await at.gate.get("/orders/1", ORIGIN, method="DELETE")
        assert (status, cors_fields(head)["Access-Control-Allow-Origin"]) == (405, [PAGE])


async def test_caches_learn_that_the_origin_matters() -> None:
    async with scene(route={"origins": [PAGE]}) as at:
        assert cors_fields((await at.gate.get("/orders/1"))[1]) == {"Vary": ["Origin"]}


async def test_a_route_without_origins_is_unchanged() -> None:
    async with scene(reply(200, b"ok", "Access-Control-Allow-Origin: *")) as at:
        assert cors_fields((await at.gate.get("/orders/1"))[1]) == {"Access-Control-Allow-Origin": ["*"]}
        assert (await at.gate.get("/orders/1", *PREFLIGHT, method="OPTIONS"))[0] == 403


@pytest.mark.parametrize("fields", [[ORIGIN], PREFLIGHT[1:]], ids=["without the requested method", "without an origin"])
async def test_other_options_requests_are_forwarded(fields: list[str]) -> None:
    async with scene(route={"origins": [PAGE]}) as at:
        assert (await at.gate.get("/orders/1", *fields, method="OPTIONS"))[0] == 200
        assert at.upstream.requests[0].line.startswith("OPTIONS ")


@pytest.mark.parametrize("requested", ["a b", "a,,b", "", '"'])
async def test_malformed_field_names_are_not_repeated(requested: str) -> None:
    async with scene(route={"origins": [PAGE]}) as at:
        fields = [*PREFLIGHT[:2], f"Access-Control-Request-Headers: {requested}"]
        status, head, _ = await at.gate.get("/orders/1", *fields, method="OPTIONS")
        assert (status, "Access-Control-Allow-Headers" in cors_fields(head)) == (204, False)


@pytest.mark.parametrize("origin", [f"{PAGE}:443", PAGE.upper().replace("HTTPS:", "https:"), f"{PAGE}."])
async def test_an_origin_is_compared_as_browsers_write_it(origin: str) -> None:
    async with scene(route={"origins": [origin]}) as at:
        status, head, _ = await at.gate.get("/orders/1", f"Origin: {PAGE}")
    assert status == 200
    assert f"Access-Control-Allow-Origin: {PAGE}\r\n".encode() in head
