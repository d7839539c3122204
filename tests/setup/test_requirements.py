"""What is installed is fixed, explained, and comes from nowhere in particular."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = ["base.txt", "dev.txt"]


def wanted(group: str) -> set[str]:
    """Return the packages that a .in file names, in lower case."""
    lines = (REQUIREMENTS / f"{group}.in").read_text().splitlines()
    return {re.split(r"[~=<>\[ ]", line)[0].lower() for line in lines if line[:1].isalpha()}


def locked(lock: str) -> dict[str, str]:
    """Return each locked package's whole entry by its name and version."""
    entries = re.split(r"^(?=\S)", (REQUIREMENTS / lock).read_text(), flags=re.MULTILINE)
    return {entry.split()[0]: entry for entry in entries if entry[:1].isalpha()}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_a_version_and_hashes(lock: str) -> None:
    for name, entry in locked(lock).items():
        assert "==" in name, name
        assert "--hash=sha256:" in entry, name


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_a_host_or_a_path(lock: str) -> None:
    text = (REQUIREMENTS / lock).read_text()
    assert not re.search(
        r"://|--(?:extra-)?index|--find-links|--trusted| @ |\.(?:org|com|io)\b", text
    )


@pytest.mark.parametrize("lock", LOCKS)
def test_every_wanted_package_is_locked(lock: str) -> None:
    names = {name.split("==")[0] for name in locked(lock)}
    assert wanted(lock.removesuffix(".txt")) <= names


def test_both_locks_agree() -> None:
    assert set(locked("base.txt")) <= set(locked("dev.txt"))


@pytest.mark.parametrize("group", ["base", "dev"])
def test_every_dependency_is_explained_and_nothing_else(group: str) -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    [section] = [part for part in text.split("\n## ") if f"(`requirements/{group}.in`)" in part]
    rows = re.findall(r"^\| ([\w-]+) \| (.+?) \| (.{5,}) \|$", section, flags=re.MULTILINE)
    explained = {name.lower() for name, _, _ in rows} - {"package"}
    assert explained == wanted(group)


def test_django_stays_on_the_long_term_release() -> None:
    [django] = [name for name in locked("base.txt") if name.startswith("django==")]
    assert django.startswith("django==5.2.")


def test_every_debian_package_has_a_group_and_a_reason() -> None:
    lines = (ROOT / "deploy/debian-packages.txt").read_text().splitlines()
    for line in lines:
        assert re.fullmatch(r"(#.*|(run|test|bench)\s+[a-z0-9.+-]+\s+# \S.*)?", line), line
