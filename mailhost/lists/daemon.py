"""The lists' daemon of one mail server: Postfix hands it what is posted, it hands back copies.

It needs neither the panel nor Redis. Taken is what is on its disk; sending goes on in a
thread of its own, one copy after the other, and after a kill where it was.
"""

from __future__ import annotations

import asyncio
import logging
import pwd
import smtplib
import socket
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Lock, Thread

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP as Server
from aiosmtpd.smtp import Envelope, Session

from mailhost import serving
from mailhost.config import HostConfig, load_config
from mailhost.lists import message, posting
from mailhost.lists.directory import Directory
from mailhost.lists.queue import Copy, Queue, arrived
from mailhost.paths import Paths
from mailhost.records import MailingList

#: Seconds until what Postfix did not take is offered again.
_PAUSE = 5.0
#: Copies looked up at a time.
_SOME = 100

_log = logging.getLogger("mailhost.lists")


def run(root: Path) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    logging.getLogger("mail.log").setLevel(logging.WARNING)
    return serving.run("lists", root, _serve)


async def _serve(paths: Paths) -> None:
    config = load_config(paths.root)
    queue, lock = Queue(paths.lists / "lists.sqlite3"), Lock()
    sender = Sender(paths, config, queue, lock)
    taker = Taker(Directory(paths.store), queue, lock, sender.wake)
    ended = serving.told_to_end()
    listening = await _listen(paths.lists_socket, taker, config)
    sender.start()
    _log.info("ready")
    await ended.wait()
    listening.close()
    await asyncio.to_thread(sender.stop)
    if not sender.is_alive():
        queue.close()
    with suppress(FileNotFoundError):
        paths.lists_socket.unlink()
    _log.info("ended")


async def _listen(path: Path, taker: Taker, config: HostConfig) -> asyncio.Server:
    """Listen where Postfix delivers, and nobody else can."""
    account = pwd.getpwnam("postfix")
    made = partial(
        LMTP,
        taker,
        # Larger than any message here, trace lines included: our own answer is the clear one.
        data_size_limit=config.message_size_limit + 65536,
        hostname=config.hostname,
        ident="lists",
    )
    return await serving.listen(path, made, account.pw_uid, account.pw_gid)


class Taker:
    """Judges what Postfix delivers, and keeps what is to be sent on."""

    def __init__(self, directory: Directory, queue: Queue, lock: Lock, wake: Event) -> None:
        """Take what it asks and fills; `wake` is set when there is something to send."""
        self._directory = directory
        self._queue = queue
        self._lock = lock
        self._wake = wake

    async def handle_RCPT(
        self,
        _server: Server,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Take one list at a time, as main.cf says; another one comes with its own copy."""
        if envelope.rcpt_tos:
            return "452 4.5.3 One list at a time"
        if self._directory.list_at(address) is None:
            return "550 5.1.1 There is no such list"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, _server: Server, _session: Session, envelope: Envelope) -> str:
        """Answer for the one recipient."""
        try:
            return self._take(envelope)
        except Exception:
            _log.exception("not taken")
            return "451 4.3.0 The list is out of service for the moment"

    def _take(self, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        sender, found = envelope.mail_from or "", self._directory.list_at(envelope.rcpt_tos[0])
        if found is None:
            return "550 5.1.1 There is no such list"
        mailing_list, is_bounce = found
        if is_bounce:
            self._count_bounce(mailing_list, content)
            return posting.PASSED_OVER
        most = self._directory.most_bytes(mailing_list, sender)
        verdict = posting.judge(mailing_list, sender, content, most)
        _log.info("%s from <%s>: %s", mailing_list.address, sender, verdict.answer)
        if verdict.post and mailing_list.members:
            with self._lock:
                self._queue.take(mailing_list.address, mailing_list.members, content)
            self._wake.set()
        return verdict.answer

    def _count_bounce(self, mailing_list: MailingList, content: bytes) -> None:
        """Count a member whose copy came back; any other report says nothing."""
        member = message.returned_member(content, mailing_list.leave_key)
        if member in {address.lower() for address in mailing_list.members}:
            with self._lock:
                self._queue.came_back(mailing_list.address, member)


class _ToPostfix(smtplib.SMTP):
    """SMTP over the socket that Postfix has for us."""

    def __init__(self, path: Path, hostname: str) -> None:
        self._path = str(path)
        super().__init__(local_hostname=hostname, timeout=300)
        code, text = self.connect("localhost", 25)
        if code != 220:
            raise smtplib.SMTPConnectError(code, text)
        self.ehlo()

    def _get_socket(self, _host: str, _port: int, timeout: float) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(self._path)
        return connection


class Sender(Thread):
    """Hands each member's copy to Postfix, once."""

    def __init__(self, paths: Paths, config: HostConfig, queue: Queue, lock: Lock) -> None:
        """Take where to send and what from; `wake` asks for a look at the queue."""
        super().__init__(name="sender", daemon=True)
        self._paths = paths
        self._hostname = config.hostname
        self._queue = queue
        self._lock = lock
        self._ending = Event()
        self.wake = Event()

    def stop(self) -> None:
        """End after the copy in hand."""
        self._ending.set()
        self.wake.set()
        self.join(30)

    def run(self) -> None:
        """Send what waits, until stopped."""
        while not self._ending.is_set():
            self.wake.clear()
            done = False
            try:
                self._resolve()
                done = self._send_all()
            except (OSError, smtplib.SMTPException) as error:
                _log.warning("Postfix did not take all: %s", error)
            except Exception:
                _log.exception("sending failed")
            if not self._ending.is_set():
                self.wake.wait(None if done else _PAUSE)

    def _resolve(self) -> None:
        """Find out about copies that were begun when the daemon or a connection ended."""
        with self._lock:
            unsure = self._queue.begun()
        if not unsure:
            return
        # Postfix may just be writing it, and its log comes through another process.
        time.sleep(2)
        for copy in unsure:
            there = arrived(self._paths.log / "postfix.log", copy.name)
            with self._lock:
                (self._queue.done if there else self._queue.give_back)(copy)

    def _send_all(self) -> bool:
        """Send all that waits; return False if something has to be tried again."""
        directory, client, content = Directory(self._paths.store), None, (0, b"")
        try:
            while not self._ending.is_set():
                with self._lock:
                    copies = self._queue.waiting(_SOME)
                if not copies:
                    return True
                for copy in copies:
                    if self._ending.is_set():
                        break
                    client = client or _ToPostfix(self._paths.lists_return, self._hostname)
                    if content[0] != copy.post:
                        with self._lock:
                            content = (copy.post, self._queue.content(copy.post))
                    self._send(client, directory, copy, content[1])
            return False
        finally:
            directory.close()
            if client:
                client.close()

    def _send(self, client: smtplib.SMTP, directory: Directory, copy: Copy, content: bytes) -> None:
        found = directory.list_at(copy.list)
        if found is None or copy.member not in found[0].members:
            # The list is gone, or the member has left meanwhile.
            with self._lock:
                self._queue.done(copy)
            return
        mailing_list = found[0]
        with self._lock:
            self._queue.begin(copy)
        client.docmd("XFORWARD", f"IDENT={copy.name}")
        text = message.for_member(content, mailing_list, copy.member)
        try:
            client.sendmail(mailing_list.bounce_address, [copy.member], text)
        except smtplib.SMTPRecipientsRefused as error:
            code = error.recipients[copy.member][0]
            self._refused(copy, code)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            self._refused(copy, error.smtp_code)
        else:
            with self._lock:
                self._queue.done(copy)

    def _refused(self, copy: Copy, code: int) -> None:
        """Count a member who cannot be reached; offer again what is refused for now."""
        with self._lock:
            if code >= 500:
                self._queue.came_back(copy.list, copy.member)
                self._queue.done(copy)
            else:
                self._queue.give_back(copy)
        if code < 500:
            raise smtplib.SMTPResponseException(code, "try again later")
