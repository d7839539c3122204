"""python -m bench._policy_bare SOCKET: the least that asyncio can do, as a measure for the daemon.

It never looks at what it is asked, and always has the same answer.
"""

from __future__ import annotations

import asyncio
import sys


class Bare(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to answer on."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer a request that is complete."""
        if data.endswith(b"\n\n"):
            self._transport.write(b"action=DUNNO\n\n")


async def main(path: str) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_unix_server(Bare, path)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
