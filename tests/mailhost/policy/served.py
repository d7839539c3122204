"""A policy daemon on a socket, as Postfix finds it, with a clock by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from mailhost.policy.protocol import PolicyServer
from tests.mailhost.policy.post import Post

# As Postfix 3.7 sends it.
ASKED = """\
request=smtpd_access_policy
protocol_state=RCPT
protocol_name=ESMTP
client_address=203.0.113.7
client_name=pc.example.com
client_port=51234
reverse_client_name=pc.example.com
server_address=192.0.2.200
server_port=587
helo_name=pc
sender=alice@example.com
recipient=friend@outside.test
recipient_count=0
queue_id=
instance=1a2b.65a.1.0
size=1234
etrn_domain=
stress=
sasl_method=PLAIN
sasl_username=alice
sasl_sender=
ccert_subject=
ccert_issuer=
ccert_fingerprint=
ccert_pubkey_fingerprint=
encryption_protocol=TLSv1.3
encryption_cipher=TLS_AES_256_GCM_SHA384
encryption_keysize=256
policy_context=submission
"""
QUESTION = ASKED.encode() + b"\n"


class Served:
    """A server on a socket of its own."""

    def __init__(self, post: Post, server: PolicyServer, path: str) -> None:
        """Take what runs."""
        self.post = post
        self.server = server
        self.path = path

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as smtpd(8) does."""
        return await asyncio.open_unix_connection(self.path)

    async def ask(self, data: bytes = QUESTION) -> bytes:
        """Send on a new connection, and return all that is answered within a moment."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            return await asyncio.wait_for(reader.read(4096), 5)
        except ConnectionError:
            return b""
        finally:
            writer.close()


def serve(post: Post, test: Callable[[Served], Awaitable[None]]) -> None:
    """Run a test beside a server."""

    async def main() -> None:
        server = PolicyServer(
            post.db, post.directory, post.rules, post.repeats, post.arrivals, post.clock
        )
        path = str(post.root / "socket")
        loop = asyncio.get_running_loop()
        listening = await loop.create_unix_server(server.connection, path)
        try:
            await test(Served(post, server, path))
        finally:
            listening.close()
            for connection in list(server.connections):
                connection.abort()
            await asyncio.sleep(0)

    asyncio.run(main())
