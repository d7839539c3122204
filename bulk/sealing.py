"""The seed of the passwords that an import makes, kept so that the database alone tells nothing.

A row's password is derived from the seed, so that none is ever stored: neither in the database,
nor in a task's arguments, nor in a file. The seed is encrypted by a key of SECRET_KEY's, and
forgotten once the passwords were fetched, or a day after the import.
"""

import base64
import secrets

from cryptography.fernet import Fernet, InvalidToken
from django.utils.crypto import salted_hmac


def new_seed() -> str:
    """Return a fresh seed, sealed."""
    return _box().encrypt(secrets.token_bytes(32)).decode()


def opened(sealed: str) -> bytes | None:
    """Return a seed; None where it is forgotten, or was sealed by another SECRET_KEY."""
    try:
        return _box().decrypt(sealed.encode())
    except InvalidToken:
        return None


def _box() -> Fernet:
    key = salted_hmac("bulk.sealing", "", algorithm="sha256").digest()
    return Fernet(base64.urlsafe_b64encode(key))
