"""A mailbox's password: what is accepted, and the hash that the servers verify.

The hash is made through passlib's API in a scheme that both Dovecot and crypt(3)
verify (the FTP server reads the same one), written with Dovecot's {SCHEME} prefix.
docs/performance.md says why SHA512-CRYPT and how many rounds.
"""

import hmac
import secrets
from functools import cache
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import MinimumLengthValidator, validate_password
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils.translation import gettext as _
from passlib.hash import bcrypt, sha512_crypt

# Lowest, usual and highest cost: rounds of SHA512-CRYPT, the exponent of BLF-CRYPT.
ROUNDS = {"SHA512-CRYPT": (1000, 10_000, 999_999), "BLF-CRYPT": (4, 10, 16)}
SCHEMES: dict[str, Any] = {"SHA512-CRYPT": sha512_crypt, "BLF-CRYPT": bcrypt}
LONGEST = 64  # bcrypt refuses more than 72 bytes
# A password that nobody knows is hashed with this salt, which no other hash has: so the mark
# travels with the hash wherever that goes. It need not be costly, being as good as a key.
NOBODYS = "{SHA512-CRYPT}$6$rounds=1000$NobodyKnowsThis.$"
# Without characters that look alike in print.
ALPHABET = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def make_hash(password: str) -> str:
    """Return the hash of an accepted password in the scheme of the settings."""
    scheme = settings.MAILBOX_PASSWORD_SCHEME
    if scheme not in SCHEMES:
        raise ImproperlyConfigured(f"MAILBOX_PASSWORD_SCHEME must be one of {sorted(SCHEMES)}")
    rounds = settings.MAILBOX_PASSWORD_ROUNDS or ROUNDS[scheme][1]
    hasher = SCHEMES[scheme].using(rounds=rounds)
    if scheme == "BLF-CRYPT":
        hasher = hasher.using(ident="2y")  # crypt(3) and ProFTPD know $2y$
    return f"{{{scheme}}}{hasher.hash(password)}"


def verify(password: str, stored: str) -> bool:
    """Whether `password` is the one that `stored` was made from."""
    scheme, _brace, text = stored.removeprefix("{").partition("}")
    return scheme in SCHEMES and bool(SCHEMES[scheme].verify(password, text))


def verify_evenly(password: str, stored: str) -> bool:
    """Do as `verify`, but take as long for none (""), for one of a password that nobody knows,
    and for one of fewer rounds as for one that is made today.
    """
    known = bool(stored) and not is_unusable(stored) and is_sendable(password)
    text = stored if known else _nothings_hash(settings.MAILBOX_PASSWORD_SCHEME)
    fits = verify(password if is_sendable(password) else "-", text)
    _make_up(text)
    return known and fits


@cache
def _nothings_hash(scheme: str) -> str:
    """Return a hash to verify where there is none."""
    return make_hash(generate())


def _make_up(stored: str) -> None:
    """Spend the time that a hash of fewer rounds than usual has not taken."""
    if not stored.startswith("{SHA512-CRYPT}"):
        return
    usual = settings.MAILBOX_PASSWORD_ROUNDS or ROUNDS["SHA512-CRYPT"][1]
    missing = usual - sha512_crypt.from_string(stored.partition("}")[2]).rounds
    if missing >= ROUNDS["SHA512-CRYPT"][0]:
        sha512_crypt.using(rounds=missing).hash("-")


def is_sendable(password: str) -> bool:
    """Whether mail programs can send it, and every scheme can hash it."""
    sendable = password.isascii() and password.isprintable() and " " not in password
    return sendable and len(password) <= LONGEST


def unusable_hash() -> str:
    """Return the hash of a password that nobody knows, recognised by is_unusable()."""
    hasher = sha512_crypt.using(rounds=1000, salt=NOBODYS.split("$")[-2])
    return f"{{SHA512-CRYPT}}{hasher.hash(generate())}"


def is_unusable(stored: str) -> bool:
    """Whether this is the hash of a password that nobody knows."""
    return stored.startswith(NOBODYS)


def generate() -> str:
    """Return a password of 16 characters, some 93 bits, easy to copy by hand."""
    return "".join(secrets.choice(ALPHABET) for _place in range(16))


def derived(seed: bytes, label: str) -> str:
    """Return the password that a secret seed gives to a label, as strong as a generated one."""
    number = int.from_bytes(hmac.digest(seed, label.encode(), "sha256"), "big")
    places = []
    for _place in range(16):
        number, rest = divmod(number, len(ALPHABET))
        places.append(ALPHABET[rest])
    return "".join(places)


def quick_hash(password: str) -> str:
    """Return the cheapest hash that the servers take, of a password that nobody could guess.

    For many generated ones at a time: with 93 bits a slow hash guards nothing more.
    """
    hasher = sha512_crypt.using(rounds=ROUNDS["SHA512-CRYPT"][0])
    return f"{{SHA512-CRYPT}}{hasher.hash(password)}"


class MinimumLength(MinimumLengthValidator):
    """Django's rule, in words that say in Japanese what to do."""

    def get_error_message(self) -> str:
        """Say what is wrong."""
        words = _("This password is too short. It must contain at least %(least)d characters.")
        return words % {"least": self.min_length}

    def get_help_text(self) -> str:
        """Say how it has to be."""
        words = _("Your password must contain at least %(least)d characters.")
        return words % {"least": self.min_length}


def check(password: str, *, name: str = "") -> None:
    """Refuse what a mail program could not send, and what is easily guessed."""
    if not password.isascii() or not password.isprintable() or " " in password:
        raise ValidationError(
            _("Use half-width letters, digits and symbols, without spaces."), code="characters"
        )
    if len(password) > LONGEST:
        raise ValidationError(
            _("Use at most %(most)d characters.") % {"most": LONGEST}, code="long"
        )
    if name and password.lower() == name.lower():
        raise ValidationError(_("The password must differ from the name."), code="same")
    validate_password(password)
