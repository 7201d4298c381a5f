import base64
import uuid
from datetime import UTC, datetime, timedelta

from gateway.sandbox.runs import Runs

NOW = 1_753_000_000.25


def decoded(instance_id: str) -> uuid.UUID:
    return uuid.UUID(bytes=base64.urlsafe_b64decode(instance_id + "=="))


def test_an_id_is_a_version_1_uuid_of_the_moment() -> None:
    instance_id = Runs().begin("ECHO", NOW, "uuid").instance_id
    parts = decoded(instance_id)
    moment = datetime(1582, 10, 15, tzinfo=UTC) + timedelta(microseconds=parts.time / 10)
    assert len(instance_id) == 22
    assert (parts.version, parts.variant) == (1, uuid.RFC_4122)
    assert moment.timestamp() == NOW


def test_ids_differ_while_the_clock_stands_still() -> None:
    runs = Runs()
    assert len({runs.begin("ECHO", NOW, "uuid").instance_id for _ in range(100)}) == 100


def test_generation_2_ids_are_numbers() -> None:
    runs = Runs()
    first, second = (runs.begin("ECHO", NOW, "decimal").instance_id for _ in range(2))
    assert int(second) == int(first) + 1


def test_the_last_runs_are_stored_and_found() -> None:
    runs = Runs(limit=2)
    ids = [runs.begin(code, NOW, "uuid").instance_id for code in ("A", "B", "A")]
    assert runs.find(ids[0]) is None
    assert [run.instance_id for run in runs.latest()] == [ids[2], ids[1]]
    assert [run.code for run in runs.latest("B")] == ["B"]
