"""Where everything of one mail server lies, below its root.

The servers' own users must reach what is theirs: the root can be walked
through, while the store, keys and mail are closed to others.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from mailhost import grammar
from mailhost.config import plain_path

# A unix socket's path ends at 107 bytes (unix(7)); Dovecot's longest below base_dir is
# "/run/token-login/imap-urlauth", Postfix's "/queue/private/dovecot-lmtp".
MAX_ROOT = 70


@dataclass(frozen=True, slots=True)
class Paths:
    """The files and directories of the server in `root`."""

    root: Path

    @property
    def store(self) -> Path:
        """The SQLite database: the server's truth."""
        return self.root / "store" / "mail.db"

    @property
    def lock(self) -> Path:
        """The file whose lock makes one worker the only one."""
        return self.root / "apply.lock"

    @property
    def maps(self) -> Path:
        """Postfix's maps, readable to Postfix's group and nobody else."""
        return self.root / "maps"

    @property
    def postfix(self) -> Path:
        """Postfix's config_directory."""
        return self.root / "etc" / "postfix"

    @property
    def queue(self) -> Path:
        """Postfix's queue_directory."""
        return self.root / "queue"

    @property
    def data(self) -> Path:
        """Postfix's data_directory."""
        return self.root / "data"

    @property
    def dovecot(self) -> Path:
        """The directory of Dovecot's configuration."""
        return self.root / "etc" / "dovecot"

    @property
    def dovecot_conf(self) -> Path:
        """Dovecot's main file, for `-c`."""
        return self.dovecot / "dovecot.conf"

    @property
    def run(self) -> Path:
        """Dovecot's base_dir."""
        return self.root / "run"

    @property
    def policy(self) -> Path:
        """What the policy daemon remembers: grants, counts, refusals."""
        return self.root / "policy"

    @property
    def policy_socket(self) -> Path:
        """Where Postfix asks the policy daemon."""
        return self.queue / "private" / "policy"

    @property
    def policy_key(self) -> Path:
        """The secret (one line) by which the policy daemon knows that Dovecot asks."""
        return self.root / "state" / "policy.key"

    @property
    def panel_imap(self) -> Path:
        """How the panel reaches all mail by IMAP, with the secret for it."""
        return self.root / "state" / "panel-imap.json"

    @property
    def lists(self) -> Path:
        """What the lists' daemon still has to send, and which members' mail came back."""
        return self.root / "lists"

    @property
    def lists_socket(self) -> Path:
        """Where Postfix hands over what was posted to a list, by LMTP."""
        return self.queue / "private" / "lists-lmtp"

    @property
    def lists_return(self) -> Path:
        """Where the lists' daemon hands members' copies to Postfix, by SMTP."""
        return self.queue / "private" / "from-lists"

    @property
    def replies(self) -> Path:
        """The scripts of auto-replies: root's, read by Dovecot's delivery."""
        return self.root / "replies"

    def reply(self, mailbox_id: str) -> Path:
        """A mailbox's script; compiled it stands beside it."""
        return self.replies / f"{mailbox_id}.sieve"

    @property
    def usage(self) -> Path:
        """How full mailboxes are, as the usage daemon keeps it."""
        return self.root / "usage"

    @property
    def usage_db(self) -> Path:
        """The usage daemon's database; made by `init`."""
        return self.usage / "usage.sqlite3"

    @property
    def usage_socket(self) -> Path:
        """Where Dovecot tells the usage daemon which mailbox has changed."""
        return self.run / "usage"

    @property
    def events(self) -> Path:
        """What became of messages, as the events daemon keeps it."""
        return self.root / "events"

    @property
    def events_db(self) -> Path:
        """The events daemon's database; made by `init`."""
        return self.events / "events.sqlite3"

    @property
    def events_socket(self) -> Path:
        """Where the events daemon says how far it has read the log."""
        return self.events / "socket"

    @property
    def ftp(self) -> Path:
        """ProFTPD's configuration, host keys, who may log in, and what it remembers."""
        return self.root / "ftp"

    @property
    def ftp_conf(self) -> Path:
        """ProFTPD's main file, for `-c`."""
        return self.ftp / "proftpd.conf"

    @property
    def ftp_accounts(self) -> Path:
        """The SQLite database that ProFTPD reads: the accounts with FTP switched on."""
        return self.ftp / "accounts.db"

    @property
    def ftp_scoreboard(self) -> Path:
        """Where ProFTPD says who is logged in; ftpwho(1) reads it."""
        return self.ftp / "scoreboard"

    @property
    def webmail(self) -> Path:
        """Webmail's configuration, logs, and the domains' settings."""
        return self.root / "webmail"

    @property
    def ssh(self) -> Path:
        """The SSH service's key and sockets, for root alone."""
        return self.root / "ssh"

    @property
    def ssh_host_key(self) -> Path:
        """The key by which SSH clients know the server; made once."""
        return self.ssh / "host_ed25519"

    @property
    def ssh_auth(self) -> Path:
        """Where Dovecot is asked about a login by SSH."""
        return self.ssh / "auth"

    @property
    def ssh_imap(self) -> Path:
        """Where Dovecot serves what Alpine reads."""
        return self.ssh / "imap"

    @property
    def ssh_submission(self) -> Path:
        """Where Postfix takes what Alpine sends."""
        return self.queue / "private" / "ssh-submission"

    @property
    def ssh_control(self) -> Path:
        """Where the SSH service is told to end an account's sessions."""
        return self.ssh / "control"

    @property
    def archive(self) -> Path:
        """What is on record about archives, and what killed runs left to finish."""
        return self.root / "archive"

    @property
    def log(self) -> Path:
        """The servers' logs."""
        return self.root / "log"

    @property
    def mail(self) -> Path:
        """The mailboxes, as ID[:2]/ID."""
        return self.root / "mail"

    @property
    def trash(self) -> Path:
        """The deleted mailboxes, as ID beside ID.json; on the file system of `mail`."""
        return self.root / "trash"

    @property
    def tls(self) -> Path:
        """The server's own certificate, and checked copies of the domains'."""
        return self.root / "tls"

    def home(self, mailbox_id: str) -> Path:
        """Return a mailbox's directory; GrammarError for anything but an id."""
        grammar.check_mailbox_id(mailbox_id)
        return self.mail / mailbox_id[:2] / mailbox_id

    def trashed(self, mailbox_id: str) -> Path:
        """Return a deleted mailbox's directory; GrammarError for anything but an id."""
        grammar.check_mailbox_id(mailbox_id)
        return self.trash / mailbox_id

    def label(self, mailbox_id: str) -> Path:
        """Return the file beside a deleted mailbox's directory that says whose it was."""
        return self.trashed(mailbox_id).with_name(f"{mailbox_id}.json")


def is_directory(path: Path) -> bool:
    """Say whether `path` itself is a directory; a link to one is none."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def suitable_root(path: Path) -> str | None:
    """Say in one sentence why no mail server can live in `path`, or return None.

    `path` need not exist yet.
    """
    path = path.absolute()
    if not plain_path(path):
        return f"{path} has characters that Postfix or Dovecot would misread."
    if len(str(path)) > MAX_ROOT:
        return f"{path} is too long for unix sockets ({len(str(path))} > {MAX_ROOT} characters)."
    for parent in (path, *path.parents):
        if parent.exists() and not parent.is_dir():
            return f"{parent} is not a directory."
        if parent.exists() and not parent.stat().st_mode & stat.S_IXOTH:
            return (
                f"{parent} is closed to other users, so the users of Postfix and Dovecot cannot"
                f" get through it (chmod o+x {parent} would let them)."
            )
    return None
