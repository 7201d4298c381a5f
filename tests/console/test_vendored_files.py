"""The scripts of other projects are those of npm, with their licences; a package of the gateway contains all files."""

import hashlib
import json
import re
from pathlib import Path

from tests.fakes.process import ROOT

STATIC = ROOT / "gateway" / "console" / "static"
TEMPLATES = STATIC.parent / "templates"
SUMS = dict(line.split("  ")[::-1] for line in (STATIC / "SHA256SUMS").read_text(encoding="ascii").splitlines())


def test_vendored_files_have_their_hashes() -> None:
    assert {name: hashlib.sha256((STATIC / name).read_bytes()).hexdigest() for name in SUMS} == SUMS


def test_every_vendored_script_has_a_hash_and_a_licence() -> None:
    foreign = {file.name for file in STATIC.iterdir() if ".min." in file.name or file.name.endswith(".LICENSE")}
    assert foreign == SUMS.keys()
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE").read_text(encoding="utf-8")
    assert "The MIT License" in (STATIC / "uPlot.LICENSE").read_text(encoding="utf-8")


def test_vendored_versions_are_those_of_the_lock() -> None:
    lock = json.loads((Path(__file__).parent / "vendor" / "package-lock.json").read_text(encoding="utf-8"))
    versions = {
        name.removeprefix("node_modules/"): entry["version"] for name, entry in lock["packages"].items() if name
    }
    htmx = (STATIC / "htmx.min.js").read_text(encoding="utf-8")
    assert re.findall(r'version:"([0-9.]+)"', htmx) == [versions["htmx.org"]]
    assert versions["uplot"] in (STATIC / "uPlot.iife.min.js").read_text(encoding="utf-8")[:200]


def test_htmx_evaluates_no_text_and_adds_no_style() -> None:
    layout = (TEMPLATES / "layout.html").read_text(encoding="utf-8")
    found = re.search(r"<meta name=\"htmx-config\" content='([^']+)'>", layout)
    assert found is not None
    config = json.loads(found[1])
    assert config["allowEval"] is False
    assert config["includeIndicatorStyles"] is False
    assert config["allowScriptTags"] is False
    assert config["selfRequestsOnly"] is True


def test_templates_have_no_inline_script_and_no_inline_style() -> None:
    for file in TEMPLATES.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|javascript:|hx-on|hx-vals=['\"]js:", text), file.name
        assert re.findall(r"<script(?![^>]* src=)", text) == [], file.name
