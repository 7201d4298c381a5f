"""What a team can do with its included file against the main file and other teams, at the running gateway."""

from pathlib import Path
from typing import Any

from tests.fakes.identity import Identity
from tests.fakes.process import gateway
from tests.fakes.proofs import basic
from tests.fakes.upstream import Upstream, reply
from tests.system.scene import SECRETS, credential, route, simple, written


def team_file(
    folder: Path, name: str, identity: Identity, upstream: str, callers: dict[str, Any] | None = None
) -> Path:
    """Write the file of a team with one route `/NAME/` to an upstream, for these callers; return it."""
    folder = folder / "teams" / name
    folder.mkdir(parents=True)
    (folder / "secret").write_text(f"secret-of-{name}", encoding="utf-8")
    (folder / "secret").chmod(0o600)
    app = credential(identity.url, scope=name) | {"client_secret": {"file": "secret"}}
    own, more = route(name, upstream, credential=f"{name}-app"), {}
    if callers is not None:
        own["callers"], more = [*callers], {"callers": callers}
    return written(folder, {"credentials": {f"{name}-app": app}, "routes": [own], **more}, "team.yaml")


async def test_a_team_takes_no_link_and_no_absolute_target_of_others(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream() as upstream:
        team_file(tmp_path, "a", identity, f"{upstream.url}/orders/")
        team_file(tmp_path, "b", identity, f"{upstream.url}/orders/special/")
        include = [{"files": f"teams/{name}/*.yaml", "path": f"/{name}/", "owner": name} for name in ("b", "a")]
        main = simple(identity.url, f"{upstream.url}/", include=include)
        link = f"{upstream.url}/orders/special/1"
        async with gateway(written(tmp_path, main), **SECRETS) as gate:
            for path, expected in (
                ("/orders/orders/", "/orders/orders/special/1"),
                ("/a/", "/a/special/1"),
                ("/b/", "/b/1"),
            ):
                body = f'{{"link": "{link}"}}'.encode()
                upstream.script.append(reply(200, body, f"Location: {link}", "Content-Type: application/json"))
                _, head, answer = await gate.get(path)
                here = f"http://localhost{expected}"
                assert f"\r\nLocation: {here}\r\n".encode() in head
                assert f'"{here}"'.encode() in answer
            assert (await gate.get(link))[0] == 200
            records = await gate.wait_for_records(4)
            assert [record["route"] for record in records] == ["orders", "a", "b", "orders"]


async def test_a_target_under_upstreams_of_two_teams_is_refused(tmp_path: Path) -> None:
    async with Identity() as identity, Upstream() as upstream:
        team_file(tmp_path, "a", identity, f"{upstream.url}/orders/")
        team_file(tmp_path, "b", identity, f"{upstream.url}/orders/special/")
        main = simple(identity.url, f"{upstream.url}/main/", include=["teams/*/*.yaml"])
        async with gateway(written(tmp_path, main), **SECRETS) as gate:
            status, _, body = await gate.get(f"{upstream.url}/orders/special/1")
            assert (status, b"several teams" in body) == (404, True)
            assert upstream.requests == []
            assert (await gate.get(f"{upstream.url}/orders/1"))[0] == 200
            assert [record["route"] for record in await gate.wait_for_records(2)][1:] == ["a"]


async def test_a_secret_that_becomes_a_link_is_never_sent(tmp_path: Path) -> None:
    """The file is replaced while the gateway runs; the forced renewal after a 401 reads it again."""
    (tmp_path / "operator").write_text("secret-of-the-operator", encoding="utf-8")
    async with Identity() as identity, Upstream() as upstream:
        team_file(tmp_path, "a", identity, f"{upstream.url}/a/")
        main = simple(identity.url, f"{upstream.url}/main/", include=["teams/*/*.yaml"])
        async with gateway(written(tmp_path, main), **SECRETS) as gate:
            assert (await gate.get("/a/"))[0] == 200
            secret = tmp_path / "teams/a/secret"
            secret.unlink()
            secret.symlink_to("../../operator")
            upstream.script += [reply(401, b"", "WWW-Authenticate: Bearer")] * 2
            await gate.get("/a/")
            assert len(identity.requests) == 1
            [line] = await gate.wait_for_events("token-failed")
            assert f"`{secret}` leads out of the folder" in str(line)


async def test_callers_of_a_team_change_nothing_on_routes_of_others(tmp_path: Path) -> None:
    """A request whose proofs name two callers is refused; the callers of a team count on its own routes only."""
    foreign = {
        "anybody": {"networks": ["0.0.0.0/0", "::/0"]},
        "a-key": {"api_key": {"file": "key"}},
        "a-basic": {"basic": {"username": "x", "password": {"file": "basic"}}},
    }
    async with Identity() as identity, Upstream() as upstream:
        file = team_file(tmp_path, "a", identity, f"{upstream.url}/a/", callers=foreign)
        for name in ("key", "basic"):
            (file.parent / name).write_text(f"{name}-of-a-with-enough-letters", encoding="utf-8")
            (file.parent / name).chmod(0o600)
        main = simple(identity.url, f"{upstream.url}/main/", include=["teams/*/*.yaml"])
        main["callers"] = {"lab": {"basic": {"username": "lab", "password": {"env": "LAB"}}}}
        main["routes"][0]["callers"] = ["lab"]
        proof = "Authorization: " + basic("lab:password-of-the-lab").decode()
        async with gateway(written(tmp_path, main), **SECRETS, LAB="password-of-the-lab") as gate:
            assert (await gate.get("/orders/", proof, "X-Api-Key: for-oic"))[0] == 200
            assert upstream.requests[-1].field("x-api-key") == "for-oic"
            assert (await gate.get("/orders/"))[0] == 401
            assert (await gate.get("/a/"))[0] == 200
            assert (await gate.get("/a/", "X-Api-Key: key-of-a-with-enough-letters"))[0] == 401
            assert (await gate.get("/orders/", proof, "X-Api-Key: key-of-a-with-enough-letters"))[0] == 200
            assert upstream.requests[-1].field("x-api-key") is None
            records = await gate.wait_for_records(5)
            assert [record["caller"] for record in records] == ["lab", None, "anybody", None, "lab"]
