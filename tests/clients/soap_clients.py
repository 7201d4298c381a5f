"""SOAP clients of other languages read the gateway's Faults: JAX-WS RI, Axis 1.4, .NET (mono), gSOAP; SOAP 1.1 and 1.2.

Run by `make test-clients`, which installs what they need from Debian; no part of the usual tests.
"""

import asyncio
import socket
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.fakes.identity import Identity
from tests.fakes.process import Process, gateway
from tests.system.scene import SECRETS, credential, route, simple, written

HERE = Path(__file__).parent
JARS = Path("/usr/share/java")
JAX_WS = (
    *("jaxws-rt", "jaxws-api", "saaj-impl", "javax.xml.soap-api", "jaxb-api", "jaxb-core", "jaxb-impl", "jaxb-runtime"),
    *("stax-ex", "streambuffer", "mimepull", "metro-policy", "gmbal", "istack-commons-runtime", "jws-api"),
    *("javax.activation", "woodstox-core", "stax2-api"),
)
AXIS = ("axis", "axis-jaxrpc", "axis-saaj", "commons-logging", "commons-discovery", "wsdl4j", "javax.activation")
MONO_LIBRARIES = ("System.ServiceModel", "System.Web.Services", "System.Runtime.Serialization", "System.Xml")
CLIENTS = ("jax-ws", "axis", "asmx", "wcf", "gsoap")
# Path, status of the error, code.
ERRORS = (
    ("/none/", 404, "no-route"),
    ("/orders/", 502, "upstream-unreachable"),
    ("/sick/", 503, "token-unavailable"),
)


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode(errors="replace")
    return out.decode(errors="replace")


def jars(names: tuple[str, ...]) -> str:
    files = [JARS / f"{name}.jar" for name in names]
    missing = [str(file) for file in files if not file.exists()]
    assert not missing, f"missing {missing}: run `make test-clients`, or install the packages that it names"
    return ":".join(map(str, files))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every client, compiled."""
    folder = tmp_path_factory.mktemp("clients")

    async def build() -> None:
        await run("javac", "-cp", jars(JAX_WS), "-d", str(folder), str(HERE / "JaxWsClient.java"))
        await run("javac", "-cp", jars(AXIS), "-d", str(folder), str(HERE / "AxisClient.java"))
        libraries = [f"-r:{name}.dll" for name in MONO_LIBRARIES]
        await run("mcs", "-nologo", *libraries, f"-out:{folder}/MonoClient.exe", str(HERE / "MonoClient.cs"))
        for version in ("1", "2"):
            stubs = folder / f"gsoap-{version}"
            stubs.mkdir()
            await run("soapcpp2", "-c", "-C", "-L", f"-{version}", "-d", str(stubs), str(HERE / "hello.h"))
            sources = [str(HERE / "gsoap_client.c"), f"{stubs}/soapC.c", f"{stubs}/soapClient.c"]
            await run("gcc", "-w", "-o", f"{folder}/gsoap-1.{version}", f"-I{stubs}", *sources, "-lgsoap")

    asyncio.run(build())
    return folder


async def call(client: str, built: Path, url: str, version: str) -> str:
    """The last line that the client prints."""
    commands = {
        "jax-ws": ("java", "-cp", f"{jars(JAX_WS)}:{built}", "JaxWsClient", url, version),
        "axis": ("java", "-cp", f"{jars(AXIS)}:{built}", "AxisClient", url, version),
        "asmx": ("mono", f"{built}/MonoClient.exe", url, version, "asmx"),
        "wcf": ("mono", f"{built}/MonoClient.exe", url, version, "wcf"),
        "gsoap": (f"{built}/gsoap-{version}", url),
    }
    return (await run(*commands[client])).strip().rpartition("\n")[2]


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Process]:
    """A gateway whose upstream, and one of whose identity domains, refuse connections."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        closed_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with Identity() as identity:
            document = simple(identity.url, f"{closed_url}/flow/")
            document["credentials"]["sick"] = credential(f"{closed_url}/token")
            document["routes"].append(route("sick", f"{closed_url}/flow/", credential="sick"))
            async with gateway(written(tmp_path, document), **SECRETS) as running:
                yield running


def fault_text(body: bytes) -> str:
    root = ET.fromstring(body)
    return next(text.text or "" for text in root.iter() if text.tag.rpartition("}")[2] in {"faultstring", "Text"})


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_soap_client_reads_every_fault(client: str, version: str, built: Path, gate: Process) -> None:
    media = "Content-Type: text/xml" if version == "1.1" else "Content-Type: application/soap+xml"
    for path, status, code in ERRORS:
        is_callers = status < 500 and version == "1.2"
        sent, head, body = await gate.post(path, b"<x/>", media, "SOAPAction: x")
        assert sent == (400 if is_callers else 500)
        assert f"X-Gateway-Error: {code}; status={status}\r\n".encode() in head
        if client == "wcf" and is_callers:  # WCF reads Faults behind 500 alone, and its own services send no other
            continue
        assert await call(client, built, f"http://{gate.listen}{path}", version) == f"fault: {fault_text(body)}"
