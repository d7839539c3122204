"""Webmail's configuration, from the templates in mailhost/render/webmail.

In these `{{ name }}` is filled in as in Postfix's and Dovecot's. All is readable to webmail's
group and to nobody else.
"""

from __future__ import annotations

import os
from pathlib import Path

from mailhost.config import HostConfig
from mailhost.paths import Paths
from mailhost.webmail.places import READABLE

# Bytes that a browser sends around the files of a message.
_AROUND = 64 * 1024
# Of Roundcube's own plugins the two that it cannot do without.
_PLUGINS = {
    "filesystem_attachments": Path("/usr/share/roundcube/plugins/filesystem_attachments"),
    "jqueryui": Path("/usr/share/roundcube/plugins/jqueryui"),
}


def values(paths: Paths, config: HostConfig) -> dict[str, str]:
    """Return what webmail's templates ask for, beside the settings themselves."""
    etc, limits = paths.webmail / "etc", paths.webmail / "limits"
    own = [f"{etc}/", f"{limits}/", f"{paths.webmail / 'log'}/"]
    return {
        "webmail": str(paths.webmail),
        "open_basedir": ":".join([*READABLE, *own]),
        "webmail_upload": str(config.message_size_limit + _AROUND),
        "webmail_help": config.help_url.replace("/help/sending", "/help/webmail"),
    }


def files(paths: Paths, here: Path) -> dict[Path, Path]:
    """Return each file to be made, and its template below `here`."""
    etc, made = paths.webmail / "etc", {}
    roundcube = ("config.inc.php", "defaults.inc.php", "mimetypes.php")
    for template in sorted((here / "webmail").rglob("*")):
        name = template.relative_to(here / "webmail")
        if template.is_dir():
            continue
        if name.parts[0] == "plugin":
            made[etc / "plugins" / "plusmail" / Path(*name.parts[1:])] = template
        else:
            made[etc / ("roundcube" if name.name in roundcube else "") / name] = template
    return made


def prepare(paths: Paths, config: HostConfig) -> None:
    """Make the directories of the files, and let Roundcube find its own plugins."""
    plugins = paths.webmail / "etc" / "plugins"
    for directory in (plugins / "plusmail" / "localization", paths.webmail / "etc" / "pages"):
        directory.mkdir(parents=True, exist_ok=True)
    for directory in (plugins / "plusmail", plugins / "plusmail" / "localization"):
        os.chown(directory, 0, config.webmail_gid)
        directory.chmod(0o750)
    for name, target in _PLUGINS.items():
        link = plugins / name
        if not link.is_symlink():
            link.symlink_to(target)
