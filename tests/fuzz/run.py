"""Looks for bytes that break what `claims` says of the readers of HTTP/1, guided by coverage: `make fuzz`.

Inputs that take a new way are added to the corpus, which `make test` replays. One that breaks a claim is left there as
`found-…`, so that the tests fail until the reader is mended; it stays when it is.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.claims import check_replies, check_requests
from tests.fuzz.thin import Check, thinned

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
CHECKS: dict[str, Check] = {"requests": check_requests, "replies": check_replies}
LONGEST = 1500


def main() -> int:
    """Fuzzes the targets that are named, one after the other; 1 where one of them broke."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Look for inputs that break the readers of HTTP/1.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("targets", nargs="*", choices=[[], *CHECKS], help="all, unless named")
    arguments = parser.parse_args()
    broken = [name for name in arguments.targets or CHECKS if not fuzz(name, arguments.seconds)]
    for name in broken:
        sys.stderr.write(f"broken: {name}; see {CORPUS / name}/found-*\n")
    return 1 if broken else 0


def fuzz(name: str, seconds: int) -> bool:
    """Fuzzes one target; False where an input broke it."""
    corpus = CORPUS / name
    with tempfile.TemporaryDirectory() as work:
        command = [sys.executable, "-m", f"tests.fuzz.fuzz_{name}", work, str(corpus)]
        limits = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", "-timeout=10"]
        files = [f"-dict={HERE / 'http.dict'}", f"-artifact_prefix={corpus}/found-"]
        ended = subprocess.run([*command, *limits, *files], cwd=HERE.parents[1], check=False)
        if ended.returncode == 0:
            keep(name, [path.read_bytes() for path in Path(work).iterdir()])
    return ended.returncode == 0


def keep(name: str, more: list[bytes]) -> None:
    """Writes the corpus anew, with what is of use of these inputs."""
    old = [path for path in (CORPUS / name).iterdir() if not path.name.startswith("found-")]
    corpus = thinned(CHECKS[name], [*[path.read_bytes() for path in old], *more])
    names = {hashlib.sha256(data).hexdigest()[:16]: data for data in corpus}
    for path in old:
        if path.name not in names:
            path.unlink()
    for file, data in names.items():
        (CORPUS / name / file).write_bytes(data)
    sys.stderr.write(f"{name}: {len(names)} inputs, {sum(map(len, corpus))} bytes\n")


if __name__ == "__main__":
    sys.exit(main())
