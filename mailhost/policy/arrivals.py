"""Logins that Dovecot is looking at, and questions that wait for their outcome.

Dovecot lets a customer in before it tells so: a mail program that sends at once would be told to
receive first, though it just did. Dovecot asks before it looks at a password, and tells
afterwards; in between a login is under way. Of it only the network (mailhost.policy.grants) is
kept, for who sends comes from there too. What waits is told of each outcome from its network.
"""

from __future__ import annotations

from collections.abc import Callable

#: Seconds after which a login is no longer under way: Dovecot tells of none that was given up.
#: A guesser's is held up by five, and a wrong password takes two more.
PATIENCE = 10.0
#: Networks remembered at once, the oldest go first, and logins under way from each.
MOST_NETWORKS, MOST_LOGINS = 10_000, 50
#: Questions that wait at once, and those from one network: Postfix has some hundred processes.
MOST_WAITING, MOST_WAITING_HERE = 100, 10


class Arrivals:
    """Logins under way, by network, and who waits there."""

    def __init__(self) -> None:
        """Begin with none."""
        # When each began, the oldest first; of the networks the one heard of last comes last.
        self._begun: dict[str, list[float]] = {}
        self._waiting: dict[str, dict[Callable[[], None], None]] = {}

    def begun(self, network: str, now: float) -> None:
        """Dovecot asks about a login from there."""
        times = [at for at in self._begun.pop(network, ()) if at > now - PATIENCE]
        self._begun[network] = [*times[1 - MOST_LOGINS :], now]
        if len(self._begun) > MOST_NETWORKS:
            del self._begun[next(iter(self._begun))]

    def ended(self, network: str) -> None:
        """Dovecot has told the outcome of a login from there: call back who waits."""
        if times := self._begun.get(network):
            del times[0]
            if not times:
                del self._begun[network]
        for call in list(self._waiting.get(network, ())):
            call()

    def under_way(self, network: str, now: float) -> bool:
        """Say whether Dovecot may soon tell of a login from there."""
        times = self._begun.get(network)
        return times is not None and times[-1] > now - PATIENCE

    def wait(self, network: str, call: Callable[[], None]) -> bool:
        """Call back after each outcome from there; False if too many wait already."""
        here = self._waiting.get(network, {})
        if len(here) >= MOST_WAITING_HERE or sum(map(len, self._waiting.values())) >= MOST_WAITING:
            return False
        here[call] = None
        self._waiting[network] = here
        return True

    def leave(self, network: str, call: Callable[[], None]) -> None:
        """Call back no more."""
        here = self._waiting.get(network, {})
        here.pop(call, None)
        if not here:
            self._waiting.pop(network, None)
