"""Which files a pattern of `include` matches: endlessly many links neither stop the gateway nor lead it elsewhere."""

from pathlib import Path

import pytest

from gateway.config.watched_files import find_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files in several folders, one of them hidden."""
    for name in ("one", "a/two", "a/b/three", "a/[c]/four", ".hidden/five", "a/.six"):
        (tmp_path / "teams" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "teams" / f"{name}.yaml").touch()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/seven.yaml").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("teams/*.yaml", "one"),
        ("teams/*/*.yaml", "two"),
        ("teams/**/*.yaml", "four three two one"),
        ("**/t*.yaml", "three two"),
        ("teams/a/**/three.yaml", "three"),
        ("teams/**/b/**/*.yaml", "three"),
        ("teams/a/b/**", "three"),
        ("teams/a/[[]c]/*.yaml", "four"),
        ("none/**/*.yaml", ""),
    ],
)
def test_a_pattern_matches_files(folder: Path, pattern: str, names: str) -> None:
    assert [Path(file).stem for file in find_files(f"{folder}/{pattern}")] == names.split()


def test_links_between_folders_are_followed_once(folder: Path) -> None:
    """Two links to a folder in itself make 2^40 paths; a chain of folders with two links each needs no loop."""
    team = folder / "teams/a"
    for name in ("x", "y"):
        (team / name).symlink_to(".")
    for number in range(40):
        (team / f"f{number}").mkdir()
        for name in ("x", "y"):
            (team / f"f{number}" / name).symlink_to(f"../f{number + 1}")
    (team / "b2").symlink_to("b")
    assert [Path(file).stem for file in find_files(f"{folder}/teams/**/*.yaml")] == ["four", "three", "two", "one"]


def test_a_link_to_a_folder_elsewhere_is_not_followed(folder: Path) -> None:
    (folder / "teams/a/out").symlink_to("../../outside")
    (folder / "teams/a/root").symlink_to("/")
    assert not any("seven" in file for file in find_files(f"{folder}/teams/**/*.yaml"))
    assert any("seven" in file for file in find_files(f"{folder}/**/*.yaml"))


def test_a_hidden_folder_is_reached_by_a_link(folder: Path) -> None:
    """As Kubernetes mounts folders of a projected volume."""
    (folder / "teams/linked").symlink_to(".hidden")
    assert find_files(f"{folder}/teams/**/five.yaml") == [f"{folder}/teams/linked/five.yaml"]
