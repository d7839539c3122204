"""Passwords, asked of Dovecot by its authentication protocol, as the service "ssh".

Source: Dovecot's "Authentication Protocol v1.2", the client's side. Who has SSH switched off has
no password that is right (dovecot-sql.conf.ext), so that Dovecot, the policy daemon behind it and
whoever tries see the same as with a wrong one.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import re
import socket

#: Bytes of a password, and seconds until an answer; Dovecot holds up guesses for some of them.
MOST_PASSWORD_BYTES, PATIENCE = 1000, 60.0
# RFC 5321's longest address, of Dovecot's own auth_username_chars.
_LOGIN = re.compile(r"\A[A-Za-z0-9.@_+-]{1,254}\Z")
# Each connection bears a process id that no other has.
_numbers = itertools.count(os.getpid() << 8)


class AuthError(Exception):
    """Dovecot gives no answer."""


def may_be_right(login: str, password: str) -> bool:
    """Say whether Dovecot need be asked: what it cannot be told is nobody's name or password."""
    return bool(
        _LOGIN.match(login)
        and 0 < len(password.encode("utf-8", "replace")) <= MOST_PASSWORD_BYTES
        and "\0" not in password
    )


async def account_of(connection: socket.socket, login: str, password: str, remote: str) -> str:
    """Return the account that logs in, or "" where that is refused.

    `connection` is one to Dovecot's socket, closed afterwards; `remote` the customer's IP address.
    Raises AuthError.
    """
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    try:
        async with asyncio.timeout(PATIENCE):
            return await _ask(reader, writer, login, password, remote)
    except (OSError, ValueError, asyncio.IncompleteReadError) as error:
        raise AuthError(f"Dovecot does not answer about a login: {error}") from error
    finally:
        writer.close()


async def _ask(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    login: str,
    password: str,
    remote: str,
) -> str:
    writer.write(f"VERSION\t1\t1\nCPID\t{next(_numbers) % 2**31}\n".encode())
    while (await reader.readuntil(b"\n")) != b"DONE\n":
        pass
    plain = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
    fields = ("AUTH", "1", "PLAIN", "service=ssh", "secured", "nologin", f"rip={remote}")
    # The answer to the challenge comes last, as the protocol has it.
    writer.write("\t".join((*fields, f"resp={plain}\n")).encode())
    kind, _, *answer = (await reader.readuntil(b"\n")).decode().rstrip("\n").split("\t")
    users = [field.partition("=")[2] for field in answer if field.startswith("user=")]
    return users[0] if kind == "OK" and users else ""
