"""Who reads his mail by IMAP right now, and from where, as Dovecot tells it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from mailhost import programs
from mailhost.dovecot import Doveadm, NoAnswer
from mailhost.paths import Paths
from mailhost.policy.grants import network_of

#: Seconds that doveadm gets (usually 10 ms).
PATIENCE = 20.0


class Sessions:
    """The open sessions of one server's Dovecot."""

    def __init__(self, paths: Paths) -> None:
        """Name the server; its Dovecot need not be running yet."""
        self._doveadm = Doveadm(paths)

    async def by_imap(self) -> set[tuple[str, str]]:
        """Return (account, network) of each open IMAP session. Raises NoAnswer.

        doveadm-who(1) does not tell by which listener one came, nor who only speaks for an
        account, so a session proves that a customer is still there, not that he came.
        """
        process = await asyncio.create_subprocess_exec(
            *self._doveadm.command,
            *("-f", "tab", "who", "-1"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=programs.ENVIRONMENT,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        except TimeoutError as error:
            raise NoAnswer("doveadm who did not end") from error
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode:
            raise NoAnswer(err.decode("utf-8", "replace").strip() or "doveadm who failed")
        return read_who(out.decode("utf-8", "replace"))


def read_who(text: str) -> set[tuple[str, str]]:
    """Return (account, network) of each IMAP session in what `doveadm -f tab who -1` says."""
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return {(row[0], network_of(row[3])) for row in rows if len(row) == 4 and row[1] == "imap"} - {
        ("", "")
    }
