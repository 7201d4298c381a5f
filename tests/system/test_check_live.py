"""Every set-up mistake, played by the sandbox's switches: `check --live` names each by its code, with a remedy."""

import asyncio
import datetime as dt
import json
import os
import re
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from gateway.checks.run import run_checks
from gateway.config.load import load
from gateway.diagnosis import Finding, findings_document
from gateway.diagnosis.catalog import MISTAKES
from gateway.sandbox import DEFAULT_SECRET, Sandbox, Switches
from tests.fakes.authority import Authority
from tests.fakes.certificates import DAY
from tests.fakes.egress import Egress
from tests.fakes.identity import Identity
from tests.fakes.process import ROOT, run
from tests.fakes.upstream import Upstream, reply
from tests.system.cases import CASES, INSTANCE, REST, document_of
from tests.system.scene import SECRETS, Settings, route, simple, written


async def found(folder: Path, settings: Settings) -> list[Finding]:
    findings = await run_checks(load(written(folder, settings), environ={}).config)
    assert DEFAULT_SECRET not in json.dumps(findings_document(findings))
    assert "eyJ" not in json.dumps(findings_document(findings)), "a token is shown"
    return findings


async def failed(folder: Path, settings: Settings) -> dict[str, Finding]:
    """The findings that are failures, by their code."""
    return {finding.code: finding for finding in await found(folder, settings) if not finding.ok}


@pytest.mark.parametrize("name", CASES)
async def test_a_mistake_is_explained(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    async with Sandbox(switches=Switches(**case.switches)) as sandbox:
        settings = document_of(tmp_path, sandbox, secret=case.secret)
        case.change(settings, sandbox)
        failures = await failed(tmp_path, settings)
    assert set(failures) == {case.code}
    finding = failures[case.code]
    assert finding.subject == case.subject
    text = finding.text()
    assert text.startswith(f"FAIL {case.subject}: ")
    assert text.count("\n     → ") == 2, "seen → means → remedy"
    assert [words for words in case.words if words not in text] == []
    assert case.secret.strip('" \n') not in text


async def test_all_is_well_and_no_flow_has_run(tmp_path: Path, sandbox: Sandbox) -> None:
    settings = document_of(tmp_path, sandbox)
    settings["credentials"]["api"] = {**settings["credentials"]["app"], "scope": sandbox.api_scope}
    settings["routes"] += [
        route("hello", sandbox.soap_upstream()),
        route("project", sandbox.upstream("PROJORDERS", project="DEMO")),
        {
            **route("api", f"{sandbox.origin}/ic/api/integration/v1/", query=INSTANCE, design=sandbox.design_origin),
            "credential": "api",
        },
        route("else", f"{sandbox.origin}/ic/elsewhere/"),
    ]
    findings = await found(tmp_path, settings)
    assert [finding.text() for finding in findings if not finding.ok] == []
    steps = [finding.step for finding in findings if finding.subject == "credential app"]
    assert steps == ["connection", "discovery", "token", "claims"]
    assert len(sandbox.token_requests) == 2
    assert {call.method for call in sandbox.calls} == {"GET", "OPTIONS"}
    last = [call.target.rpartition("/")[2] for call in sandbox.calls if call.method == "GET"]
    assert set(last) == {"metadata", "?wsdl", "integrations?limit=1&integrationInstance=acme"}
    seen_by_subject = {finding.subject: finding.seen for finding in findings}
    assert "answered 307 to http://localhost:" in seen_by_subject["route api"]
    [left] = [finding for finding in findings if finding.is_warning]
    assert (left.subject, left.code) == ("route else", "unknown-url")


async def test_routes_of_a_credential_that_fails_are_not_tried(tmp_path: Path, sandbox: Sandbox) -> None:
    findings = await found(tmp_path, document_of(tmp_path, sandbox, secret="another"))
    [finding] = [finding for finding in findings if finding.subject == "route orders"]
    assert (finding.ok, finding.code) == (True, "not-tried")
    assert finding.text() == "skip route orders: not tried: credential app has no token"
    assert not sandbox.calls


async def test_routes_that_ask_the_same_ask_once(tmp_path: Path, sandbox: Sandbox) -> None:
    settings = document_of(tmp_path, sandbox)
    settings["routes"] = [route(f"orders-{number}", sandbox.upstream("ORDERS")) for number in range(50)]
    findings = await found(tmp_path, settings)
    assert sum(finding.subject.startswith("route orders-") and finding.ok for finding in findings) == 50
    assert len(sandbox.calls) == 1


async def test_a_check_ends_in_time(tmp_path: Path, sandbox: Sandbox) -> None:
    async with SilentPort() as silent:
        settings = document_of(tmp_path, sandbox)
        settings["routes"].append(route("silent", f"http://127.0.0.1:{silent.port}{REST}/X/1.0/"))
        config = load(written(tmp_path, settings), environ={}).config
        failures = [finding for finding in await run_checks(config, within=1.0) if not finding.ok]
    assert [(finding.subject, finding.code) for finding in failures] == [("route silent", "out-of-time")]


async def test_a_file_that_went_away_is_a_finding(tmp_path: Path, sandbox: Sandbox) -> None:
    authority = Authority(tmp_path)
    settings = document_of(tmp_path, sandbox)
    settings["routes"].append(route("tls", "https://127.0.0.1:1/", tls={"ca": str(authority.ca)}))
    config = load(written(tmp_path, settings), environ={}).config
    authority.ca.unlink()
    [finding] = await run_checks(config)
    assert (finding.ok, finding.code, finding.subject) == (False, "certificate", "configuration")


class SilentPort:
    """Takes connections and never says a word."""

    async def __aenter__(self) -> Self:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen()
        self.port = int(self._socket.getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()


# TLS -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate that is refused, and what must be said of it."""

    code: str
    words: tuple[str, ...]
    issuer: str = "Test Authority"
    names: tuple[str, ...] = ()
    begins: dt.timedelta = -DAY
    ends: dt.timedelta = DAY
    is_trusted: bool = True


CERTIFICATES = {
    "a TLS inspection proxy": Tls(
        "tls-inspection",
        ("issued by Corp TLS Inspection", "TLS inspection proxy", "tls: {ca: FILE}"),
        issuer="Corp TLS Inspection",
        is_trusted=False,
    ),
    "an unknown authority": Tls("tls-trust", ("issued by Test Authority", "`tls.ca`"), is_trusted=False),
    "another name": Tls("tls-name", ("for other.example", "certificate is for another site"), names=("other.example",)),
    "a certificate that has ended": Tls("tls-expired", ("expired on", "clock"), begins=-3 * DAY, ends=-DAY),
    "a certificate that has not begun": Tls("tls-expired", ("not valid before", "clock"), begins=DAY, ends=3 * DAY),
}


@pytest.mark.parametrize("name", CERTIFICATES)
async def test_a_certificate_that_is_refused_is_explained(tmp_path: Path, name: str) -> None:
    case = CERTIFICATES[name]
    authority = Authority(tmp_path, case.issuer)
    context = authority.server(*case.names, begins=case.begins, ends=case.ends)
    async with Sandbox(ssl_context=context) as sandbox:
        settings = document_of(tmp_path, sandbox)
        if case.is_trusted:
            settings["credentials"]["app"]["tls"] = {"ca": str(authority.ca)}
            settings["defaults"] = {"tls": {"ca": str(authority.ca)}}
        failures = [finding for finding in await found(tmp_path, settings) if not finding.ok]
        assert not sandbox.token_requests
        assert not sandbox.calls
    assert [(finding.subject, finding.code) for finding in failures] == [
        ("credential app", case.code),
        (f"upstream {sandbox.origin}", case.code),
    ]
    for finding in failures:
        assert [words for words in case.words if words not in finding.text()] == []


async def test_a_certificate_with_two_faults_has_both_findings(tmp_path: Path) -> None:
    context = Authority(tmp_path, "Test Authority").server(begins=-3 * DAY, ends=-DAY)
    async with Sandbox(ssl_context=context) as sandbox:
        failures = [finding for finding in await found(tmp_path, document_of(tmp_path, sandbox)) if not finding.ok]
    assert [finding.code for finding in failures] == ["tls-trust", "tls-trust"]
    for finding in failures:
        assert "expired on" in finding.seen
        for row in (MISTAKES["tls-trust"], MISTAKES["tls-expired"]):
            assert row.means in finding.means
            assert row.remedy in finding.remedy
        assert not re.search(r"[A-Z][a-z]+(?:[A-Z][a-z]+)*Error", finding.seen)


async def test_a_good_certificate_is_shown(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with Sandbox(ssl_context=authority.server()) as sandbox:
        settings = document_of(tmp_path, sandbox)
        settings["credentials"]["app"]["tls"] = {"ca": str(authority.ca)}
        settings["defaults"] = {"tls": {"ca": str(authority.ca)}}
        findings = await found(tmp_path, settings)
    assert all(finding.ok for finding in findings)
    [text] = [finding.seen for finding in findings if finding.subject.startswith("upstream")]
    assert text.startswith(
        "reached by TLSv1.3; certificate of oic server for 127.0.0.1, localhost, issued by Test Auth"
    )


# The way -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "base", "words"),
    [
        ("dns", "https://oic.invalid", ("does not know it", "DNS")),
        ("connect", "http://127.0.0.1:{closed}", ("No program listens", "allow-list")),
        ("tls", "https://127.0.0.1:{plain}", ("https or http",)),
    ],
)
async def test_a_way_that_is_closed_is_explained(
    tmp_path: Path, sandbox: Sandbox, closed_port: int, *, code: str, base: str, words: tuple[str, ...]
) -> None:
    base = base.format(closed=closed_port, plain=sandbox.origin.rpartition(":")[2])
    settings = document_of(tmp_path, sandbox)
    settings["credentials"]["other"] = {**settings["credentials"]["app"], "token_url": f"{base}/oauth2/v1/token"}
    settings["routes"] += [
        route("far", f"{base}{REST}/X/1.0/"),
        {**route("more", sandbox.origin), "credential": "other"},
    ]
    findings = await found(tmp_path, settings)
    bad = [finding for finding in findings if not finding.ok]
    assert [finding.code for finding in bad] == [code, code]
    assert bad[0].subject == "credential other"
    assert bad[1].subject.startswith(f"upstream {base}")
    for finding in bad:
        assert [word for word in words if word not in finding.text()] == []
    [skipped] = [finding.seen for finding in findings if finding.subject == "route far"]
    assert skipped.endswith("cannot be reached")


@pytest.mark.parametrize(
    ("code", "answer", "words"),
    [
        ("proxy-login", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", ("username, password", "407")),
        ("proxy", b"HTTP/1.1 403 Forbidden\r\n\r\n", ("CONNECT tunnel", "403")),
        ("proxy", b"", ("its address",)),
    ],
)
async def test_an_egress_proxy_that_refuses_is_explained(
    tmp_path: Path, closed_port: int, code: str, answer: bytes, words: tuple[str, ...]
) -> None:
    async with Sandbox(ssl_context=Authority(tmp_path).server()) as sandbox, Egress(answer) as egress:
        settings = document_of(tmp_path, sandbox)
        url = egress.url if answer else f"http://127.0.0.1:{closed_port}"
        settings["credentials"]["app"]["proxy"] = settings["routes"][0]["proxy"] = {"url": url}
        bad = [finding for finding in await found(tmp_path, settings) if not finding.ok]
        assert [finding.code for finding in bad] == [code, code]
        for finding in bad:
            assert [word for word in words if word not in finding.text()] == []
            assert "egress proxy" in finding.seen
        assert not sandbox.token_requests


# The verb ------------------------------------------------------------------------------------------------------------


async def test_the_verb_prints_text_and_json(tmp_path: Path) -> None:
    async with Sandbox(switches=Switches(roles=())) as sandbox:
        file = written(tmp_path, document_of(tmp_path, sandbox))
        text = await run("check", "--live", "-c", file)
        ended = await run("check", "--live", "--json", "-c", file)
    assert (text.status, ended.status, ended.err) == (69, 69, "")
    read = json.loads(ended.out)
    assert read["ok"] is False
    assert all(list(row) == ["ok", "subject", "step", "code", "seen", "means", "remedy"] for row in read["findings"])
    [row] = [row for row in read["findings"] if not row["ok"]]
    assert (row["subject"], row["step"], row["code"]) == ("route orders", "request", "role-missing")
    assert row["remedy"] == MISTAKES["role-missing"].remedy
    expected = f"role-missing: {row['seen']}\n     → {row['means']}\n     → {row['remedy']}\n"
    assert f"FAIL route orders: {expected}" in text.out


async def test_a_reader_that_has_enough_ends_the_verb_quietly(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, document_of(tmp_path, sandbox))
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "gateway", "check", "--json", "-c", str(file)]
    process = await asyncio.create_subprocess_exec(*command, stdout=write, stderr=asyncio.subprocess.PIPE, cwd=ROOT)
    os.close(write)
    _, err = await process.communicate()
    assert (process.returncode, err) == (141, b"")


async def test_json_is_all_that_is_printed(tmp_path: Path, sandbox: Sandbox) -> None:
    file = written(tmp_path, document_of(tmp_path, sandbox))
    good = await run("check", "--live", "--json", "-c", file)
    assert (good.status, json.loads(good.out)["ok"]) == (0, True)
    asked_nobody = await run("check", "--json", "-c", file)
    assert (asked_nobody.status, json.loads(asked_nobody.out)) == (0, {"ok": True, "findings": []})
    file.write_text("routes: []\n", encoding="utf-8")
    bad = await run("check", "--live", "--json", "-c", file)
    assert bad.status == 78
    read = json.loads(bad.out)
    assert read["ok"] is False
    assert {row["code"] for row in read["findings"]} == {"configuration"}
    assert any(row["subject"].startswith(f"{file}:1: routes") for row in read["findings"])


@pytest.mark.parametrize("location", ["http://[", "http://[::1]x/", "//[", "http://h:99999999/"])
async def test_an_odd_location_is_explained(tmp_path: Path, location: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_SECRET", DEFAULT_SECRET)
    async with Identity() as identity, Upstream(*[reply(302, b"", f"Location: {location}")] * 3) as upstream:
        findings = await run_checks(load(written(tmp_path, simple(identity.url, upstream.url)), environ=SECRETS).config)
    assert [finding.code for finding in findings if finding.subject == "route orders"] == ["redirected"]
