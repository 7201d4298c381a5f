"""Real balancers in front of a gateway: HAProxy and nginx, as processes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from tests.fakes.ports import ReservedPort
from tests.fakes.process import kill_group
from tests.fakes.waiting import TIME_LIMIT

STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""From a separate Debian package: libnginx-mod-stream."""


def haproxy(folder: Path, address: str, send: str) -> AbstractAsyncContextManager[int]:
    """Run HAProxy in TCP mode in front of an address; yield its port. `send` is its option for the PROXY header."""
    port, file = ReservedPort(), folder / "haproxy.cfg"
    file.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen front\n bind 127.0.0.1:{port.number}\n server gateway {address} {send}\n",
        encoding="ascii",
    )
    return _running(("haproxy", "-db", "-q", "-f", str(file)), port)


def nginx(folder: Path, block: str, server: str) -> AbstractAsyncContextManager[int]:
    """Run nginx with one server in the block `http` or `stream`; yield its port. `server` contains its directives."""
    port, file = ReservedPort(), folder / "nginx.conf"
    module = f"load_module {STREAM_MODULE};\n" if block == "stream" else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi") if block == "http" else ()
    temporary = "".join(f"{kind}_temp_path {folder}/nginx-{kind};\n" for kind in kinds)
    log = "access_log off;\n" if block == "http" else ""
    file.write_text(
        f"{module}daemon off;\nuser root;\npid {folder}/nginx.pid;\nerror_log {folder}/nginx.log;\nevents {{}}\n"
        f"{block} {{\n{log}{temporary}server {{\nlisten 127.0.0.1:{port.number};\n{server}\n}}\n}}\n",
        encoding="ascii",
    )
    return _running(("nginx", "-p", str(folder), "-c", str(file), "-e", str(folder / "nginx.log")), port)


@asynccontextmanager
async def _running(command: tuple[str, ...], port: ReservedPort) -> AsyncIterator[int]:
    process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
    try:
        async with asyncio.timeout(TIME_LIMIT):
            while not await _is_open(port.number):
                assert process.returncode is None, f"{command[0]} has ended: {process.returncode}"
                await asyncio.sleep(0.01)
        yield port.number
    finally:
        kill_group(process.pid)
        await process.wait()
        port.release()


async def _is_open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
