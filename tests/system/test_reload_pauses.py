"""A reload of many routes has no long step in which callers wait."""

import signal
from pathlib import Path

import pytest

from gateway.config.yaml_document import YamlDocument
from gateway.sandbox import Sandbox
from tests.fakes.process import gateway
from tests.system.scene import SECRETS, route, settings, written

ROUTES = 1500
# The interpreter runs this at its start. A collection looks at all objects in one step, with every thread stopped.
RECORDER = """
import gc, os
log = os.open(os.environ["COLLECTED"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
limit = 0

def on_collection(phase, info):
    if phase == "start":
        count = sum(len(gc.get_objects(generation=number)) for number in range(info["generation"] + 1))
        if count > limit:
            os.write(log, f"{count} objects\\n".encode())

gc.callbacks.append(on_collection)
gc.collect()
limit = 20_000
"""


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_large_garbage_collection_during_a_reload(tmp_path: Path, sandbox: Sandbox, workers: int) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(RECORDER, encoding="utf-8")
    collected = tmp_path / "collected"
    document = settings(sandbox, workers=workers)
    document["routes"] += [route(f"r{number}", sandbox.upstream("ORDERS")) for number in range(ROUTES)]
    file = written(tmp_path, document)
    recorder = {"PYTHONPATH": str(tmp_path / "site"), "COLLECTED": str(collected)}
    async with gateway(file, **SECRETS, **recorder) as gate:
        before = collected.read_text(encoding="ascii")
        assert before  # the recorder works: it has recorded the collection that it began with
        gate.signal(signal.SIGHUP)
        await gate.wait_for_events("reloaded")
        assert collected.read_text(encoding="ascii").removeprefix(before) == ""
        assert (await gate.get(f"/r{ROUTES - 1}/"))[0] == 200


def test_a_freed_tree_is_empty() -> None:
    tree = YamlDocument("a: {b: [1, {c: d}]}\ne: [[], {}]\n")
    value, inner = tree.value, tree.value["a"]["b"]
    tree.free()
    assert (value, inner, tree.lines) == ({}, [], {})
