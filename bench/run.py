"""CPU time per request of the gateway beside nginx, in one run on one machine: `make bench`.

An absolute time of a small machine means nothing, a ratio within one run does. The contender works alone on CPU 0;
upstream and load (`wrk`, 32 connections) on CPU 1; rounds are interleaved, the figure is the median. CPU time is user
plus system of the contender's whole process tree, from /proc. A contender or a workload is a line in a table below.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
PEER = "nginx"  # ratios are to this one

# By name: the path, and what wrk is told beyond a GET.
WORKLOADS = {
    "plain": ("/ic/k1", ""),
    "post": ("/ic/post", 'wrk.method = "POST"; wrk.body = string.rep("x", 10240)'),
}
# By name: the file of bench/ whose ports are filled in, and the command that FILE (in FOLDER) makes complete.
NGINX = ["nginx", "-e", "stderr", "-p", "FOLDER", "-c", "FILE"]
CONTENDERS = {
    "gateway": ("gateway.yaml", [sys.executable, "-m", "gateway", "serve", "--config", "FILE"]),
    "nginx": ("nginx.conf", NGINX),
}
REPORT = """
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%f,"p50_us":%d,"p99_us":%d,"errors":%d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""
# Of each row of the result: how the table shows it.
COLUMNS = {"cpu_us": "CPU us", "ratio": f"/ {PEER}", "requests_s": "req/s"}
COLUMNS |= {"p50_us": "p50 us", "p99_us": "p99 us", "rss_mb": "RSS MB"}

Row = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each round, contender and workload")
    options = parser.parse_args()
    if not {0, 1} <= os.sched_getaffinity(0):
        raise SystemExit("bench: two CPUs are needed: 0 for the contender, 1 for upstream and load")
    if not installed("nginx", "wrk"):
        raise SystemExit("bench: nginx and wrk could not be installed; by hand: apt-get install nginx-light wrk")
    rounds: dict[tuple[str, str], list[Row]] = {(work, name): [] for work in WORKLOADS for name in CONTENDERS}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="oic-gateway-bench-")))
        runners = start_all(folder, stack)
        for number in range(-1, options.rounds):  # the first one warms up
            seconds = options.seconds if number >= 0 else 1
            for (work, name), rows in rounds.items():
                row = measure(*WORKLOADS[work], *runners[name], seconds=seconds)
                if number >= 0:
                    rows.append(row)
    medians = {
        key: {name: statistics.median(row[name] for row in rows) for name in rows[0]} for key, rows in rounds.items()
    }
    for (work, _), row in medians.items():
        row["ratio"] = row["cpu_us"] / medians[work, PEER]["cpu_us"]
    print_table(medians)
    found = [{"workload": work, "contender": name, **row} for (work, name), row in medians.items()]
    result = {"machine": platform.platform(), "python": platform.python_version(), **vars(options), "medians": found}
    (HERE / "result.json").write_text(json.dumps(result, indent=2) + "\n")


def start_all(folder: Path, stack: ExitStack) -> dict[str, tuple[int, int]]:
    """Starts the upstream and every contender: by name, the process id and the port."""
    folder.chmod(0o755)  # nginx started by root reads as somebody else
    www = folder / "www" / "ic"
    www.mkdir(parents=True)
    for name, size in (("k1", 1024), ("m1", 1024 * 1024)):
        (www / name).write_text(json.dumps({"data": "x" * (size - 12)}))
    upstream = free_port()
    start(NGINX, fill("upstream.conf", folder, PORT=upstream), upstream, stack, cpu=1)
    runners = {}
    for name, (file, command) in CONTENDERS.items():
        port = free_port()
        filled = fill(file, folder, UPSTREAM=upstream, PORT=port, ADMIN=free_port())
        runners[name] = start(command, filled, port, stack, cpu=0), port
    return runners


def fill(name: str, folder: Path, **ports: int) -> Path:
    text = (HERE / name).read_text()
    for word, port in ports.items():
        text = text.replace(word, str(port))
    filled = folder / name
    filled.write_text(text)
    return filled


def start(command: list[str], file: Path, port: int, stack: ExitStack, *, cpu: int) -> int:
    """Starts a process on a CPU, its output in a file, ended by the stack; gives its id once its port answers."""
    filled = [{"FILE": str(file), "FOLDER": str(file.parent)}.get(word, word) for word in command]
    out = stack.enter_context(file.with_suffix(".out").open("wb"))
    environ = {**os.environ, "BENCH_SECRET": "s3cret"}
    process = subprocess.Popen(["taskset", "-c", str(cpu), *filled], stdout=out, env=environ)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    for _ in range(100):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return process.pid
        time.sleep(0.05)
    raise SystemExit(f"bench: {command[0]} does not answer on port {port}")


def measure(path: str, script: str, pid: int, port: int, *, seconds: int) -> Row:
    """Loads one contender; every request must succeed."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script + REPORT)
        file.flush()
        wrk = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s", "-s", file.name]
        before = cpu_s(pid)
        done = subprocess.run([*wrk, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True)
        used = cpu_s(pid) - before
    told = json.loads(done.stdout.splitlines()[-1])
    requests = told["requests"]
    if told["errors"] or not requests:
        raise SystemExit(f"bench: {told['errors']} of {requests} requests failed on port {port}{path}")
    times = {"cpu_us": used / requests * 1e6, "requests_s": requests / told["seconds"]}
    return {**times, "p50_us": told["p50_us"], "p99_us": told["p99_us"], "rss_mb": rss_mb(pid)}


def tree(pid: int) -> list[int]:
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return [pid, *(member for child in children for member in tree(int(child)))]


def cpu_s(pid: int) -> float:
    """User and system time of the tree, with that of children that have ended (proc(5): fields 14 to 17)."""
    stats = [Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split() for member in tree(pid)]
    return sum(int(field) for stat in stats for field in stat[11:15]) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    pages = sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def print_table(medians: dict[tuple[str, str], Row]) -> None:
    print(f"{'':16}", *(f"{title:>8}" for title in COLUMNS.values()))
    for (work, name), row in medians.items():
        print(f"{work:7} {name:8}", *(f"{row[key]:8.{2 if key == 'ratio' else 0}f}" for key in COLUMNS))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def installed(*programs: str) -> bool:
    """They are there, or Debian's packages were installed now."""
    as_root = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", "-y", "nginx-light", "wrk"]):
        if all(map(shutil.which, programs)):
            return True
        try:
            subprocess.run([*as_root, "apt-get", *command], check=True)
        except (OSError, subprocess.CalledProcessError):
            return False
    return all(map(shutil.which, programs))


if __name__ == "__main__":
    main()
