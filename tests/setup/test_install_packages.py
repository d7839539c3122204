"""The installer of Debian's packages says in one sentence why it cannot go on."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / "deploy/install-packages"


def run(path: Path, *groups: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", INSTALL, *groups],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return a PATH with the tools of any Unix, no package manager and no sudo."""
    for name in ("basename", "dirname", "grep", "readlink"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    script(tmp_path / "id", "echo 1000")
    return tmp_path


def script(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)


def test_missing_package_manager_is_one_sentence(bare: Path) -> None:
    done = run(bare, "run")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "packages: there is no apt-get here, so Debian's packages cannot be installed.\n"
    )


def test_without_root_or_sudo_the_missing_packages_are_named(bare: Path) -> None:
    script(bare / "apt-get", "echo apt-get was called; exit 1")
    script(bare / "dpkg-query", '[ "${!#}" = postfix ] || echo installed')
    done = run(bare, "run", "test")
    assert done.returncode == 1
    assert done.stderr == "packages: postfix missing, and installing them takes root or sudo.\n"
    assert "apt-get was called" not in done.stdout


def test_nothing_is_done_where_nothing_is_missing(bare: Path) -> None:
    script(bare / "apt-get", "echo apt-get was called; exit 1")
    script(bare / "dpkg-query", "echo -n installed")
    done = run(bare, "run", "test")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
