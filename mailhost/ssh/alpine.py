"""What Alpine finds in its sandbox: who it works for, and what it may do."""

from __future__ import annotations

import re
from importlib import resources

from mailhost import grammar
from mailhost.ssh.sandbox import HOME, IMAP_PORT, NO_FILES, SMTP_PORT

_FIELD = re.compile(r"\{\{ ([a-z_]+) \}\}")
# Alpine greets whoever uses it for the first time with three screens; this says that he is none.
_USER_SETTINGS = "last-version-used=6.26\npersonal-name=\n"
# Debian's Alpine looks for the second name.
_FIXED = ("/etc/pine.conf.fixed", "/etc/pinerc.fixed")


def files(name: str, domain: str, uid: int) -> dict[str, str]:
    """Return the files of a session of NAME@DOMAIN, by their paths; `uid` is Alpine's user id.

    GrammarError if one of the two is no name: they stand in Alpine's settings.
    """
    grammar.check_any_mailbox_name(name)
    grammar.check_domain(domain)
    values = {
        "imap_port": str(IMAP_PORT),
        "smtp_port": str(SMTP_PORT),
        "domain": domain,
        "no_files": NO_FILES,
    }
    template = resources.files("mailhost.ssh").joinpath("settings/pine.conf.fixed").read_text()
    fixed = _FIELD.sub(lambda match: values[match[1]], template)
    return dict.fromkeys(_FIXED, fixed) | {
        # Alpine takes the sender's name from here; no other user is known.
        "/etc/passwd": f"{name}:x:{uid}:{uid}::{HOME}:{NO_FILES}\n",
        "/etc/group": "",
        "/etc/hosts": "127.0.0.1 localhost\n",
        f"{HOME}/.pinerc": _USER_SETTINGS,
    }
