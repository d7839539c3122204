"""The signed links by which a member leaves a list; the panel checks what the daemon signs.

A token is the member's address and its HMAC-SHA256 by the list's key, both in URL-safe
base64 (RFC 4648, section 5) without padding, with a dot between.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac


def token(leave_key: str, address: str) -> str:
    """Return what follows the list's `leave_url` in the member's link."""
    member = address.lower().encode()
    signature = hmac.digest(bytes.fromhex(leave_key), member, hashlib.sha256)
    return f"{_encoded(member)}.{_encoded(signature)}"


def member_of(leave_key: str, text: str) -> str | None:
    """Return the address in lower case that a token is for, None for one that is not ours."""
    try:
        address = _decoded(text.partition(".")[0]).decode("ascii")
    except (ValueError, binascii.Error):
        return None
    genuine = hmac.compare_digest(token(leave_key, address).encode(), text.encode())
    return address if genuine else None


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
