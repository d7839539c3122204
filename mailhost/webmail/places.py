"""Where webmail's parts lie, and which of Debian's programs and files it needs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from mailhost.config import HostConfig

#: What visitors may reach of Roundcube, as Debian's package lays it out.
ROUNDCUBE = Path("/var/lib/roundcube/public_html/index.php")
#: The tables that Roundcube wants to find, and what a later version changes in them.
SCHEMA = Path("/usr/share/roundcube/SQL/sqlite.initial.sql")
UPDATES = Path("/usr/share/roundcube/SQL/sqlite")
#: Brings a database of an earlier Roundcube up to date.
UPDATER = Path("/usr/share/roundcube/bin/updatedb.sh")
#: Where PHP may read; the directory of the domain at hand comes in addition.
READABLE = (
    "/usr/share/roundcube/",
    "/var/lib/roundcube/",
    "/etc/roundcube/",
    "/usr/share/php/",
    "/usr/share/javascript/",
    "/usr/share/nodejs/",
    "/usr/share/misc/",
    "/etc/mime.types",
)
_PATH = "/usr/sbin:/sbin"


def php_fpm() -> str | None:
    """Return the newest php-fpm, which Debian names by its version (php-fpm8.2)."""
    found = sorted(Path("/usr/sbin").glob("php-fpm*"), key=_version)
    return str(found[-1]) if found else None


def _version(program: Path) -> list[int]:
    words = program.name.removeprefix("php-fpm").split(".")
    return [int(word) for word in words if word.isdigit()]


def nginx() -> str | None:
    """Return nginx's program."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:{_PATH}")


def as_webmail(config: HostConfig, command: list[str]) -> list[str]:
    """Return the command that runs another as webmail's user; it ends when its parent does."""
    return [
        "setpriv", "--reuid", str(config.webmail_uid), "--regid", str(config.webmail_gid),
        "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--pdeathsig", "TERM",
        "--", *command,
    ]  # fmt: skip


def missing() -> str | None:
    """Say in one sentence what has to be installed for webmail, or None."""
    needed = {
        "nginx": nginx(),
        "php-fpm": php_fpm(),
        "roundcube-core": ROUNDCUBE.exists(),
        "roundcube-sqlite3": any(Path("/usr/lib/php").glob("*/pdo_sqlite.so")),
    }
    lacking = [package for package, found in needed.items() if not found]
    if not lacking:
        return None
    return (
        f"Not installed: webmail's {', '.join(lacking)} (Debian's packages of these names)."
        " Mail works without it; init --webmail-port 0 says that none is wanted."
    )
