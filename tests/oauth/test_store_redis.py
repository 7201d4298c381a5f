"""A real Redis: what lies in it, how it is reached, and what happens when it goes."""

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gateway.config.secrets import SecretReader
from gateway.config.state_model import StateSettings
from gateway.limits.borrowed_allowance import LoanRequest
from gateway.limits.caller_limits import CallerLimits, Quota, RateLimit
from gateway.limits.replica_limits import ReplicaLimits
from gateway.oauth.store import EntryUnreadable, StoreDown
from gateway.oauth.stores.backend_interface import MAX_ENTRY_BYTES
from gateway.oauth.stores.encrypted import EncryptedStore
from gateway.oauth.stores.redis import Login, RedisAddress, RedisBackend
from gateway.services.replica_places import LEAVE_SCRIPT, RENEW_SCRIPT
from gateway.wiring.token_stores import load_store_files
from tests.fakes.certificates import server_pem
from tests.fakes.ports import reserved_port
from tests.fakes.process import ROOT
from tests.fakes.redis import RedisServer
from tests.fakes.waiting import TIME_LIMIT
from tests.oauth.backends import VALUE, RecordedStoreEvents, encrypted_store, redis_store, token
from tests.oauth.scene import ManualClock

TOKEN_NAME, SECRET_NAME = "oic-gateway:1:token:key", "oic-gateway:1:secret:key"
PERMISSIONS = re.search(
    r"\*\*Permissions:\*\* the Redis user needs `(.+?)`.* also `(.+?)`, and in a cluster also\s+`(.+?)`",
    (ROOT / "docs" / "token-store.md").read_text(encoding="utf-8"),
)
assert PERMISSIONS is not None
ALL_RIGHTS, RIGHTS_OF_LIMITS, RIGHTS_OF_CLUSTER = PERMISSIONS.groups()
"""As docs/token-store.md asks for them."""
RIGHTS = ALL_RIGHTS.replace(" +getrange", "").replace(" +pttl", "")


@pytest.fixture
def bus() -> Iterator[int]:
    """The port at which the nodes of a cluster talk to each other."""
    with reserved_port() as port:
        yield port


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    async with RedisServer() as running:
        yield running


def reached(place: RedisAddress, *, login: Login | None = None, tls: ssl.SSLContext | None = None) -> EncryptedStore:
    return encrypted_store(RedisBackend(place, connect_timeout=2.0, login=login, tls=tls), ManualClock())


def trusting(folder: Path, ca: Path | None) -> ssl.SSLContext | None:
    """The context that the gateway makes for `state.redis.tls`."""
    key = folder / "key"
    key.write_text(base64.b64encode(bytes(32)).decode(), encoding="ascii")
    tls = {} if ca is None else {"tls": {"ca": str(ca)}}
    document = {"redis": {"url": "rediss://redis.example", **tls}, "keys": [{"file": str(key)}]}
    state = StateSettings.model_validate(document, context={"base": folder})
    return load_store_files(state, SecretReader({})).tls


async def works(store: EncryptedStore) -> None:
    """Every command that there is."""
    clock = ManualClock()
    await store.check()
    await store.put_token("key", token(VALUE, clock))
    found = await store.get_token("key")
    assert found is not None
    await store.delete_token("key", VALUE)
    assert await store.get_token("key") is None
    assert await store.claim_lease("key", owner="a", seconds=10)
    await store.release_lease("key", owner="a")
    await store.put_refresh_token("key", VALUE)
    assert await store.get_refresh_token("key") == VALUE
    await store.delete_refresh_token("key")


async def down(store: EncryptedStore, why: str) -> None:
    with pytest.raises(StoreDown, match=why) as caught:
        await store.check()
    assert "hunter2" not in str(caught.value)
    await store.close()


# What lies in it ----------------------------------------------------------------------------------------------------


async def test_names_are_spaced_and_only_refresh_tokens_have_no_end(server: RedisServer) -> None:
    clock = ManualClock()
    store = redis_store(server, clock)
    await store.put_token("key", token(VALUE, clock, life=3600))
    await store.put_refresh_token("key", VALUE)
    await store.claim_lease("key", owner="a", seconds=10)
    async with server.client() as client:
        ends = {name.decode(): await client.pttl(name) for name in await client.keys("*")}
        assert set(ends) == {TOKEN_NAME, SECRET_NAME, "oic-gateway:1:lease:key"}
        assert 3_590_000 < ends[TOKEN_NAME] <= 3_600_000
        assert 9_000 < ends["oic-gateway:1:lease:key"] <= 10_000
        assert ends[SECRET_NAME] == -1
    await store.close()


async def test_no_token_is_readable_in_it(server: RedisServer) -> None:
    store = redis_store(server, ManualClock())
    await store.put_token("key", token(VALUE, ManualClock()))
    await store.put_refresh_token("key", VALUE)
    content = await server.dump_bytes()
    assert TOKEN_NAME.encode() in content
    assert VALUE.encode() not in content
    await store.close()


@pytest.mark.parametrize("bad", ["", "\x01", "list", "cut", "other", "x" * (MAX_ENTRY_BYTES + 1)])
async def test_an_unreadable_entry_is_reported_once(server: RedisServer, bad: str) -> None:
    clock, events = ManualClock(), RecordedStoreEvents()
    store = redis_store(server, clock, watch=events)
    for key in ("key", "other"):
        await store.put_token(key, token(key, clock))
        await store.put_refresh_token(key, key)
    async with server.client() as client:
        for name in (TOKEN_NAME, SECRET_NAME):
            good = await client.get(name)
            if bad == "list":
                await client.delete(name)
                await client.lpush(name, good)
            elif bad == "other":
                await client.copy(name.replace(":key", ":other"), name, replace=True)
            else:
                await client.set(name, good[:-1] if bad == "cut" else bad)
    for _ in range(3):
        assert await store.get_token("key") is None
        with pytest.raises(EntryUnreadable):
            await store.get_refresh_token("key")
        await store.delete_token("key", "key")
    assert events.lines == [f"unreadable {TOKEN_NAME}", f"unreadable {SECRET_NAME}"]
    assert await store.get_refresh_token("other") == "other"
    await store.put_refresh_token("key", "new")
    assert await store.get_refresh_token("key") == "new"
    await store.close()


async def test_an_invalid_lease_excludes_no_process(server: RedisServer) -> None:
    store = redis_store(server, ManualClock())
    async with server.client() as client:
        await client.lpush("oic-gateway:1:lease:key", "a")
        await store.release_lease("key", owner="a")
        assert await store.claim_lease("key", owner="a", seconds=10)
        assert not await store.claim_lease("key", owner="b", seconds=10)
    await store.close()


async def test_an_entry_that_is_too_long_is_not_read(server: RedisServer) -> None:
    events = RecordedStoreEvents()
    store = redis_store(server, ManualClock(), watch=events)
    async with server.client() as client:
        for name in (TOKEN_NAME, SECRET_NAME):
            await client.setrange(name, 200 * 2**20, "x")
        before = int((await client.info("stats"))["total_net_output_bytes"])
        assert await store.get_token("key") is None
        with pytest.raises(EntryUnreadable):
            await store.get_refresh_token("key")
        await store.delete_token("key", "key")
        assert int((await client.info("stats"))["total_net_output_bytes"]) - before < 100_000
    assert events.lines == [f"unreadable {TOKEN_NAME}", f"unreadable {SECRET_NAME}"]
    await store.close()


async def test_the_longest_token_is_kept(server: RedisServer) -> None:
    clock = ManualClock()
    store = redis_store(server, clock)
    await store.put_token("key", token('"' * 65536, clock))
    found = await store.get_token("key")
    assert found is not None
    assert len(found.value) == 65536
    await store.close()


@pytest.mark.parametrize("end", ["none", "far"])
async def test_a_lease_without_an_end_is_taken_over(server: RedisServer, end: str) -> None:
    seen: list[str] = []
    name = "oic-gateway:1:lease:key"
    backend = RedisBackend(
        RedisAddress((("127.0.0.1", server.port),)), connect_timeout=2.0, on_endless_lease=seen.append
    )
    store = encrypted_store(backend, ManualClock())
    async with server.client() as client:
        assert await store.claim_lease("key", owner="gone", seconds=10)
        await (client.persist(name) if end == "none" else client.expire(name, 10 * 86400))
        for _ in range(3):
            assert not await store.claim_lease("key", owner="a", seconds=0.1)
        assert seen == [name]
        assert 4000 < await client.pttl(name) <= 5000  # a holder that lives prolongs it in that time
        await client.pexpire(name, 1)
        async with asyncio.timeout(TIME_LIMIT):
            while not await store.claim_lease("key", owner="a", seconds=10):
                pass
    await store.close()


# How it is reached --------------------------------------------------------------------------------------------------


async def test_over_a_socket_in_another_database(server: RedisServer) -> None:
    store = reached(RedisAddress(path=str(server.socket), db=3))
    await works(store)
    await store.put_refresh_token("key", VALUE)
    async with server.client() as client:
        assert await client.dbsize() == 0
    await store.close()


async def test_with_tls_of_its_own_authority(tmp_path: Path) -> None:
    own = server_pem(tmp_path)
    (tmp_path / "other").mkdir()
    stranger = server_pem(tmp_path / "other")
    trusted = trusting(tmp_path, own)
    async with RedisServer(tls=own) as server:
        place = RedisAddress((("localhost", server.port),))
        store = reached(place, tls=trusted)
        await works(store)
        await store.close()
        await down(reached(place, tls=trusting(tmp_path, stranger)), "cannot be reached")
        await down(reached(place, tls=trusting(tmp_path, None)), "cannot be reached")
        await down(reached(place), "cannot be reached")
        await down(reached(RedisAddress((("127.0.0.2", server.port),)), tls=trusted), "cannot be reached")


@pytest.fixture
def system_pem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate that the system trusts."""
    pem = server_pem(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return pem


async def test_a_configured_authority_replaces_those_of_the_system(tmp_path: Path, system_pem: Path) -> None:
    (tmp_path / "other").mkdir()
    other = trusting(tmp_path, server_pem(tmp_path / "other"))
    sentinel_settings = ("tls-replication yes", "sentinel monitor main 127.0.0.1 1 1")
    async with (
        RedisServer(tls=system_pem) as server,
        RedisServer(*sentinel_settings, tls=system_pem, is_sentinel=True) as sentinel,
    ):
        place = RedisAddress((("localhost", server.port),))
        store = reached(place, tls=trusting(tmp_path, None))
        await works(store)
        await store.close()
        await down(reached(place, tls=other), "cannot be reached")
        await down(reached(RedisAddress(place.hosts, is_cluster=True), tls=other), "cannot be reached")
        await down(
            reached(RedisAddress((("localhost", sentinel.port),), service="main"), tls=other), "no sentinel knows"
        )


async def test_tls_to_a_cluster_and_to_the_master_of_sentinels(tmp_path: Path, system_pem: Path, bus: int) -> None:
    trusted = trusting(tmp_path, system_pem)
    cluster = ("cluster-enabled yes", f"cluster-port {bus}", "tls-cluster yes")
    async with RedisServer(*cluster, tls=system_pem) as node, RedisServer(tls=system_pem) as server:
        async with node.client() as client:
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await holds(lambda: client.execute_command("CLUSTER", "INFO"), "cluster_state:ok")
        store = reached(RedisAddress((("127.0.0.1", node.port),), is_cluster=True), tls=trusted)
        await works(store)
        await store.close()
        watched = (f"sentinel monitor main 127.0.0.1 {server.port} 1", "tls-replication yes")
        async with RedisServer(*watched, tls=system_pem, is_sentinel=True) as sentinel:
            store = reached(RedisAddress((("127.0.0.1", sentinel.port),), service="main"), tls=trusted)
            await works(store)
            await store.close()


async def test_no_authorities_are_read_on_the_loop(
    tmp_path: Path, system_pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = trusting(tmp_path, system_pem)
    clients: list[object] = []
    monkeypatch.setattr(ssl, "create_default_context", clients.append)
    async with RedisServer(tls=system_pem) as server:
        store = reached(RedisAddress((("localhost", server.port),)), tls=trusted)
        await works(store)
        await store.close()
    assert clients == []


async def test_with_a_password_that_is_asked_for_at_each_connection(server: RedisServer) -> None:
    words = ["hunter2"]
    async with server.client() as client:
        await client.config_set("requirepass", "hunter2")
        store = reached(RedisAddress((("127.0.0.1", server.port),)), login=lambda: (words[0],))
        await works(store)
        await client.config_set("requirepass", "hunter22")
        words[0] = "hunter22"
        await client.client_kill_filter(_type="normal", skipme=True)
        await works(store)
        await store.close()
        await down(
            reached(RedisAddress((("127.0.0.1", server.port),)), login=lambda: ("hunter2",)), "user or the password"
        )
        await down(reached(RedisAddress((("127.0.0.1", server.port),))), "user or the password|lacks a permission")


@pytest.mark.parametrize("rights", [RIGHTS, ALL_RIGHTS])
async def test_with_a_user_who_may_do_no_more_than_is_needed(rights: str) -> None:
    async with RedisServer(f"user gateway on >hunter2 {rights}") as server:
        place = RedisAddress((("127.0.0.1", server.port),))
        store = reached(place, login=lambda: ("gateway", "hunter2"))
        await works(store)
        await store.close()
        await down(reached(place, login=lambda: ("gateway", "wrong-hunter2")), "refuses the user or the password")
        async with server.client() as client:
            await client.execute_command("ACL", "SETUSER", "gateway", "-set")
        await down(reached(place, login=lambda: ("gateway", "hunter2")), "it needs GET, SET, DEL and EVAL")


async def test_the_documented_permissions_suffice_for_everything() -> None:
    async with RedisServer(f"user gateway on >hunter2 {ALL_RIGHTS} {RIGHTS_OF_LIMITS}") as server:
        place = RedisAddress((("127.0.0.1", server.port),))
        backend = RedisBackend(place, connect_timeout=2.0, login=lambda: ("gateway", "hunter2"))
        await works(encrypted_store(backend, ManualClock()))
        limits = CallerLimits(RateLimit(10, 1, burst=5), Quota(100, 3600), Quota(100, 3600))
        loan = await ReplicaLimits(backend.run_script, prefix="oic-gateway").borrow(
            "erp", limits, LoanRequest(1, 0, 0, 0, 0, None)
        )
        assert loan is not None
        assert loan.granted == 1
        places = "oic-gateway:1:places:https://acme.example:443"
        assert await backend.run_script(RENEW_SCRIPT, places, ["one", "6", "0", "1", "0", "5000"]) == [1, 0]
        await backend.run_script(LEAVE_SCRIPT, places, ["one", "5000"])
        async with server.client() as client:
            assert await client.acl_log() == []
            assert set(await client.keys("*")) == {b"oic-gateway:1:limits:erp", b"oic-gateway:1:check"}
        await backend.close()


async def test_a_password_that_cannot_be_read_is_a_store_that_is_down(server: RedisServer) -> None:
    def missing() -> tuple[str]:
        raise OSError("the secret file is missing")

    await down(reached(RedisAddress((("127.0.0.1", server.port),)), login=missing), "cannot be reached")


async def test_a_cluster(server: RedisServer, bus: int) -> None:
    settings = ("cluster-enabled yes", f"cluster-port {bus}", f"user gateway on >hunter2 {RIGHTS} {RIGHTS_OF_CLUSTER}")
    async with RedisServer(*settings) as node:
        place = RedisAddress((("127.0.0.1", server.port), ("127.0.0.1", node.port)), is_cluster=True)
        store = reached(place, login=lambda: ("gateway", "hunter2"))
        with pytest.raises(StoreDown):  # nobody serves any slot yet
            await store.check()
        async with node.client() as client:
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await holds(lambda: client.execute_command("CLUSTER", "INFO"), "cluster_state:ok")
        await works(store)
        await store.close()


async def holds(ask: Callable[[], Awaitable[object]], wanted: str) -> None:
    """Asks until the answer has it."""
    async with asyncio.timeout(TIME_LIMIT):
        while wanted not in str(await ask()):  # noqa: ASYNC110 - Redis tells nobody that it has changed its mind
            await asyncio.sleep(0.02)


async def test_the_master_that_the_sentinels_name_also_when_it_changes(server: RedisServer) -> None:
    watched = f"sentinel monitor main 127.0.0.1 {server.port} 1"
    async with server.client() as client:
        await client.config_set("repl-diskless-sync-delay", 0)
    async with RedisServer(f"replicaof 127.0.0.1 {server.port}") as replica:
        async with replica.client() as client:
            await holds(lambda: client.info("replication"), "'master_link_status': 'up'")
        async with RedisServer(watched, "requirepass hunter2", is_sentinel=True) as sentinel:
            await _served_by_both(server, replica, sentinel)


async def _served_by_both(server: RedisServer, replica: RedisServer, sentinel: RedisServer) -> None:
    def found_by(service: str) -> EncryptedStore:
        hosts = (("127.0.0.1", server.port), ("127.0.0.1", sentinel.port))  # the first is no sentinel
        backend = RedisBackend(
            RedisAddress(hosts, service=service), connect_timeout=2.0, sentinel_login=lambda: ("hunter2",)
        )
        return encrypted_store(backend, ManualClock())

    store = found_by("main")
    await works(store)
    await store.put_refresh_token("key", VALUE)
    async with server.client() as client:
        await client.set("last", "1")  # WAIT is for the writes of its own connection, and all before them
        assert await client.wait(1, 5000) == 1
    async with sentinel.client("hunter2") as client:  # until it has asked the replica, it would not choose it
        await holds(lambda: client.execute_command("SENTINEL", "REPLICAS", "main"), "b'master-link-status', b'ok'")
        await server.kill()
        await client.execute_command("SENTINEL", "FAILOVER", "main")  # at once: it would look on for 30 s
    async with replica.client() as client:
        await holds(lambda: client.info("replication"), "'role': 'master'")
    await holds(lambda: secret_of(store), VALUE)
    await works(store)
    await store.close()
    await down(found_by("none"), "no sentinel knows")


async def secret_of(store: EncryptedStore) -> str:
    try:
        return await store.get_refresh_token("key") or ""
    except StoreDown as cause:
        return str(cause)


# When it goes -------------------------------------------------------------------------------------------------------


async def test_it_is_found_again_after_a_restart(server: RedisServer) -> None:
    store = redis_store(server, ManualClock())
    await works(store)
    await server.restart()
    await works(store)  # the first command already: its dead connection is not its fault
    await server.kill()
    with pytest.raises(StoreDown, match="cannot be reached"):
        await store.get_token("key")
    await server.start()
    await works(store)
    await store.close()


async def test_no_answer_of_an_abandoned_question_is_given_to_another(server: RedisServer) -> None:
    store = redis_store(server, ManualClock())
    for number in range(20):
        await store.put_refresh_token(str(number), f"secret-{number}")
    server.pause()
    for number in range(20):
        with pytest.raises((TimeoutError, StoreDown)):  # the second where this machine is busy for longer
            async with asyncio.timeout(0.01):
                await store.get_refresh_token(str(number))
    server.resume()
    for _ in range(5):
        found = await asyncio.gather(*(store.get_refresh_token(str(number)) for number in reversed(range(20))))
        assert found == [f"secret-{number}" for number in reversed(range(20))]
    await store.close()


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        (("replicaof 127.0.0.1 1",), "read-only replica"),
        (("maxmemory 1", "maxmemory-policy noeviction"), "memory is full"),
        (("min-replicas-to-write 3",), "refuses the command"),
    ],
)
async def test_one_that_answers_and_takes_nothing_is_down(settings: tuple[str, ...], why: str) -> None:
    async with RedisServer(*settings) as server:
        await down(redis_store(server, ManualClock()), why)


async def test_something_else_that_listens_there_is_no_redis() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        await down(reached(RedisAddress((("127.0.0.1", port),))), "exchange failed|cannot be reached")


async def test_acknowledged_refresh_tokens_survive_with_redis_on_disk() -> None:
    async with RedisServer("appendonly yes", "appendfsync always") as server:
        store = redis_store(server, ManualClock())
        await store.put_refresh_token("key", VALUE)
        await server.restart()
        assert await store.get_refresh_token("key") == VALUE
        await store.close()
