"""Sessions: their ids, their end, and their number."""

import pytest

from gateway.console import login_sessions
from gateway.console.login_sessions import MAX_SESSIONS_OF_ONE, Identity, LoginKind, SessionTable


def find(table: SessionTable, session_id: str, now: float = 0.0) -> bool:
    return table.find(session_id, now=now, idle=30.0, longest=100.0) is not None


def test_a_session_lives_while_it_is_used() -> None:
    table = SessionTable()
    session_id, session = table.open(Identity("ann", "local"), now=0.0)
    assert session_id not in repr(session)
    assert session.csrf_token not in repr(session)
    assert all(find(table, session_id, now) for now in (29.0, 58.0, 87.0, 99.0))
    assert not find(table, session_id, 100.0)
    assert len(table) == 0


def test_an_idle_session_ends() -> None:
    table = SessionTable()
    session_id, _ = table.open(Identity("ann", "local"), now=0.0)
    assert not find(table, session_id, 30.0)
    assert not find(table, session_id, 1.0)


def test_a_closed_session_is_gone() -> None:
    table = SessionTable()
    session_id, _ = table.open(Identity("ann", "local"), now=0.0)
    other, _ = table.open(Identity("ann", "local"), now=0.0)
    table.close(session_id)
    table.close("unknown")
    assert not find(table, session_id)
    assert find(table, other)


def test_one_person_has_a_bounded_number_of_sessions() -> None:
    table = SessionTable()
    ids = [table.open(Identity("ann", "local"), now=0.0)[0] for _ in range(MAX_SESSIONS_OF_ONE)]
    bob, _ = table.open(Identity("bob", "local"), now=0.0)
    assert all(find(table, session_id) for session_id in ids)
    table.open(Identity("ann", "local"), now=0.0)
    assert [find(table, session_id) for session_id in ids] == [False] + [True] * (MAX_SESSIONS_OF_ONE - 1)
    assert find(table, bob)


@pytest.mark.parametrize("kind", ["machine", "openid"])
def test_all_sessions_together_are_bounded(kind: LoginKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_sessions, "MAX_SESSIONS", 8)
    table = SessionTable()
    ids = [table.open(Identity(str(index) if kind == "openid" else "local", kind), now=0.0)[0] for index in range(8)]
    assert find(table, ids[0])  # used again: the second is now the oldest
    table.open(Identity("z", kind), now=0.0)
    assert [find(table, session_id) for session_id in ids] == [True, False] + [True] * 6
