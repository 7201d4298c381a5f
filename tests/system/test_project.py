"""What surrounds the code: licence, package, workflows and templates are complete and valid."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import gateway
from tests.fakes.process import ROOT

GITHUB = ROOT / ".github"
SCHEMAS = {
    "vendor.github-workflows": sorted((GITHUB / "workflows").glob("*.yml")),
    "vendor.github-issue-forms": [GITHUB / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")],
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
}
CASES = [(schema, file) for schema, files in SCHEMAS.items() for file in files]


@pytest.mark.parametrize(("schema", "file"), CASES, ids=lambda value: getattr(value, "name", value))
def test_github_files_match_their_schema(schema: str, file: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("file", sorted((GITHUB / "workflows").glob("*.yml")), ids=lambda file: file.name)
def test_workflows_run_only_make_targets_that_exist(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    jobs = yaml.safe_load(file.read_text(encoding="utf-8"))["jobs"].values()
    lines = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    used = {target for line in lines for target in re.findall(r"\bmake ([a-z-]+)", line)}
    assert used <= targets


def test_python_versions_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    classified = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    workflow = yaml.safe_load((GITHUB / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == classified
    release = yaml.safe_load((GITHUB / "workflows" / "release.yml").read_text(encoding="utf-8"))
    assert release["jobs"]["bundle"]["strategy"]["matrix"]["python"] == classified
    assert project["requires-python"] == f">={classified[0]}"


def test_packages_hold_licence_documents_and_tests(tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    built = subprocess.run(
        [uv, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--out-dir", tmp_path, ROOT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    [wheel], [source] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    assert gateway.__version__ in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    assert "License-Expression: Apache-2.0" in metadata
    assert "gateway/py.typed" in names
    console = [ROOT / "gateway" / "console" / folder for folder in ("static", "templates")]
    assert {file.relative_to(ROOT).as_posix() for folder in console for file in folder.iterdir()} <= set(names)
    assert {name.partition("/")[0] for name in names} == {"gateway", wheel.name.partition("-py3")[0] + ".dist-info"}
    with tarfile.open(source) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/running.md"} <= held
    assert {"config/gateway.example.yaml", "config/schema.json", "tests/README.md", "requirements.lock"} <= held
    assert {"deploy/systemd/oic-gateway.service", "deploy/prometheus/rules.yaml"} <= held
    folders = ("bench", "config", "demo", "deploy", "docs", "tests")  # of a checkout, less what tools leave there
    kept = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    names = [path.relative_to(ROOT).as_posix() for path in kept if "__pycache__" not in path.parts]
    assert {name for name in names if name != "bench/result.json"} <= held


def test_release_notes_are_the_section_of_the_version() -> None:
    def notes(version: str) -> subprocess.CompletedProcess[str]:
        make = ["make", "--silent", "notes", f"VERSION={version}"]
        return subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)

    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.split(r"(?m)^## .*\n", changes)[1]
    assert notes(gateway.__version__).stdout == section
    unknown = notes("9.9.9")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "CHANGELOG.md has no section 9.9.9" in unknown.stderr
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert "--notes-file notes.md" in workflow


def test_the_tests_readme_matches_the_folders_and_fakes() -> None:
    folder = ROOT / "tests"
    text = (folder / "README.md").read_text(encoding="utf-8")
    folders = {path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("__")} - {"fakes"}
    fakes = {file.name for file in (folder / "fakes").glob("*.py")}
    [first, second] = text.split("## The fakes")
    cells = " ".join(re.findall(r"(?m)^\|(.*?)\|", first))
    assert set(re.findall(r"`(\w+)`", cells)) == folders
    assert set(re.findall(r"(?m)^\| `(\w+\.py)`", second)) == fakes
