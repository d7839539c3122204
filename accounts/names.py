"""What a mailbox or a domain may be called, in words for the person who typed it.

The grammars themselves are mailhost's, which checks them again where a name is
written into a mail server's file.
"""

from unicodedata import normalize

import idna
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from mailhost import grammar

# Names that Debian, Postfix or a standard gives a meaning of its own. First Debian's
# base-passwd and the users of packages on a mail server, then RFC 2142 and what mail
# software writes as itself, then ours.
_RESERVED = """
root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody
_apt systemd-network systemd-resolve systemd-timesync messagebus sshd redis postgres postfix
postdrop dovecot dovenull vmail proftpd ftp clamav opendkim nginx systemd-coredump polkitd avahi
tss uuidd dnsmasq bind ntp chrony mysql memcache munin statd debian-exim amavis spamd rspamd
postgrey git postmaster abuse mailer-daemon hostmaster webmaster noc security usenet double-bounce
bounce maildaemon noreply no-reply admin administrator operator plusmail
"""
RESERVED = frozenset(_RESERVED.split())

# A local part of 64, the @ and this make the 254 characters of an address (RFC 5321).
LONGEST_DOMAIN = 189


def lowered_local_part(text: str) -> str:
    """Return what was typed as the part before an @ in lower case, its form not judged yet.

    ValidationError says what to change where it is a whole address or not in ASCII.
    """
    typed = text.strip()
    if "@" in typed:
        raise ValidationError(_("Enter only the part before the @."), code="at")
    # Before it is lowered: the lower case of the Kelvin sign is an ordinary k.
    if not typed.isascii():
        raise ValidationError(
            _("Use half-width letters and digits only (a-z, 0-9)."), code="full_width"
        )
    return typed.lower()


def clean_mailbox_name(text: str) -> str:
    """Return a new mailbox's name in its stored form; ValidationError says what to change."""
    name = lowered_local_part(text)
    if len(name) > 32:
        raise ValidationError(_("Use at most 32 characters."), code="long")
    if not grammar.MAILBOX_NAME.match(name):
        raise ValidationError(
            _(
                "Use lower-case letters a-z, digits and . _ - only. The name starts with a letter "
                "or digit and has no dot at its end and no two dots in a row."
            ),
            code="form",
        )
    if name in RESERVED:
        raise ValidationError(
            _("This name is reserved for the mail system. Choose another one."), code="reserved"
        )
    return name


def possible_name(text: str) -> str:
    """Return the name if some account could have it, as stored; "" for anything else."""
    try:
        grammar.check_any_mailbox_name(text)
    except grammar.GrammarError:
        return ""
    return text


def clean_domain_name(text: str) -> str:
    """Return a domain's name as stored: lower case, international names as xn-- (IDNA 2008)."""
    typed = text.strip()
    if any(not char.isascii() and normalize("NFKC", char).isascii() for char in typed):
        # Full-width letters and their kind; IDNA would take them for the ASCII ones.
        raise ValidationError(
            _("Use half-width letters and digits only (a-z, 0-9)."), code="full_width"
        )
    name = typed.lower().rstrip(".")
    try:
        if not name.isascii():
            name = idna.encode(name, uts46=True).decode()
        for label in name.split("."):
            if label.startswith("xn--"):
                idna.decode(label)
    except idna.IDNAError as error:
        raise ValidationError(_("This is not a valid domain name."), code="idna") from error
    if not grammar.DOMAIN.match(name):
        raise ValidationError(_("This is not a valid domain name."), code="form")
    if len(name) > LONGEST_DOMAIN:
        raise ValidationError(_("This domain name is too long."), code="long")
    return name


def stored_domain(text: str) -> str:
    """Return what somebody looks for in the form in which domain names are stored."""
    try:
        return clean_domain_name(text)
    except ValidationError:
        return text.strip().lower()


def readable_domain(name: str) -> str:
    """Return a domain as people read it: xn-- labels in their own script."""
    if "xn--" not in name:
        return name
    try:
        return idna.decode(name)
    except idna.IDNAError:
        return name


def readable_address(address: str) -> str:
    """Return an address with its domain as people read it."""
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{readable_domain(domain)}"
