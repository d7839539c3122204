"""Where an address leads: the map of addresses, loaded level by level, and what it tells.

`load` asks the panel's database, a fixed number of queries per step of forwarding;
everything else is plain functions on what was loaded. The same map guards saving
and marks dead ends on the pages. Limits: ten steps (ours), and 1,000 addresses
out of one (Postfix, virtual_alias_expansion_limit).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from accounts.models import Account, DeletedAccount, Domain
from accounts.names import readable_address

MAX_STEPS = 10
MAX_ADDRESSES = 1000
# Addresses that every domain has (RFC 2142); unless led elsewhere they reach the fixed account.
ALWAYS = frozenset({"postmaster", "abuse"})


class End(enum.StrEnum):
    """What stands at an address."""

    FORWARD = "forward"
    MAILBOX = "mailbox"
    OUTSIDE = "outside"
    NOWHERE = "nowhere"


@dataclass(frozen=True, slots=True)
class Stop:
    """One address on the way, and where it leads next. `customer_id` is None outside."""

    end: End
    leads_to: tuple[str, ...] = ()
    customer_id: int | None = None


@dataclass(slots=True)
class RouteMap:
    """The addresses loaded so far; whatever they lead to is in it as well."""

    stops: dict[str, Stop] = field(default_factory=dict)

    def loop_from(self, start: str) -> list[str] | None:
        """Return the way from `start` back to itself or into another circle, if there is one."""
        path: list[str] = []
        finished: set[str] = set()

        def visit(address: str) -> list[str] | None:
            if address in path:
                return [*path[path.index(address) :], address]
            if address in finished or address not in self.stops:
                return None
            path.append(address)
            for onward in self._onward(address):
                if loop := visit(onward):
                    return loop
            path.pop()
            finished.add(address)
            return None

        return visit(start)

    def steps_from(self, start: str) -> int:
        """Return the longest number of forwards in a row; call only where there is no loop."""
        known: dict[str, int] = {}

        def longest(address: str) -> int:
            if address not in known:
                onward = self._onward(address)
                known[address] = 1 + max(map(longest, onward)) if onward else 0
            return known[address]

        return longest(start)

    def reached_from(self, start: str) -> set[str]:
        """Return every address that a message to `start` passes or reaches."""
        seen: set[str] = set()
        open_ends = [start]
        while open_ends:
            address = open_ends.pop()
            if address not in seen:
                seen.add(address)
                open_ends.extend(self._onward(address))
        return seen

    def _onward(self, address: str) -> tuple[str, ...]:
        """Return where `address` leads, without the copy it keeps for itself."""
        stop = self.stops.get(address)
        if stop is None:
            return ()
        return tuple(onward for onward in stop.leads_to if onward != address)


def load(
    addresses: Iterable[str],
    *,
    instead: Mapping[str, tuple[str, ...]] | None = None,
    steps: int = 0,
) -> RouteMap:
    """Load what stands at `addresses`, and at what they lead to, `steps` levels deep.

    0 stands for as deep as a rule can matter. `instead` holds addresses as an edit is
    about to make them.
    """
    instead = instead or {}
    found = RouteMap()
    fresh = {address.lower() for address in addresses}
    for _level in range(steps or MAX_STEPS + 2):
        if not fresh:
            break
        found.stops |= _stops(fresh, instead)
        fresh = {
            onward.lower()
            for address in fresh
            for onward in found.stops[address].leads_to
            if onward.lower() not in found.stops
        }
    return found


def _stops(addresses: set[str], instead: Mapping[str, tuple[str, ...]]) -> dict[str, Stop]:
    """Look up one level of addresses."""
    from forwarding.models import ForwardingAddress

    split = {address: address.rpartition("@")[::2] for address in addresses}
    domains = {
        domain.name: domain
        for domain in Domain.objects.filter(
            name__in={domain for _local, domain in split.values()}
        ).select_related("fixed_account__domain")
    }
    here = {address: parts for address, parts in split.items() if parts[1] in domains}
    locals_here = {local for local, _domain in here.values()}
    forwards = ForwardingAddress.objects.routes(domains, locals_here | {""})
    forwards.update({key: leads for key, leads in instead.items() if leads})
    boxes = _pairs(Account, domains, locals_here)
    held = _pairs(DeletedAccount, domains, locals_here)

    def stop(address: str) -> Stop:
        local, name = split[address]
        if name not in domains:
            return Stop(End.OUTSIDE)
        domain = domains[name]
        owner = domain.customer_id
        catch_all = f"@{name}"
        gone = address in instead and not instead[address]
        if address in forwards and not gone:
            leads = tuple(onward.lower() for onward in forwards[address])
            return Stop(End.FORWARD, leads, owner)
        if (local, name) in boxes:
            return Stop(End.MAILBOX, (), owner)
        fixed = domain.fixed_account.address
        if (local in ALWAYS or local == domain.label) and address != fixed:
            return Stop(End.FORWARD, (fixed,), owner)
        if local and (local, name) not in held and catch_all in forwards:
            return Stop(End.FORWARD, (catch_all,), owner)
        return Stop(End.NOWHERE, (), owner)

    return {address: stop(address) for address in addresses}


def _pairs(
    model: type[Account | DeletedAccount], domains: Iterable[str], names: set[str]
) -> set[tuple[str, str]]:
    """Return the (name, domain) pairs that exist, of these names in these domains."""
    rows = model._default_manager.filter(name__in=names, domain__name__in=list(domains))
    return set(rows.values_list("name", "domain__name"))


def leading_to(address: str) -> set[str]:
    """Return the forwarding addresses through which mail can reach `address`, any depth."""
    from forwarding.models import Destination

    seen: set[str] = set()
    fresh = {address}
    for _level in range(MAX_STEPS + 2):
        rows = Destination.objects.filter(lowered__in=fresh).values_list(
            "forwarding__local_part", "forwarding__domain__name"
        )
        fresh = {f"{local}@{domain}" for local, domain in rows} - seen - {address}
        if not fresh:
            break
        seen |= fresh
    return seen


def check(address: str, destinations: Iterable[str], *, customer_id: int) -> None:
    """Raise ValidationError unless `address` may lead to `destinations`.

    Judges what becomes of the address itself and of every address that leads to it:
    no circle, at most ten steps, at most 1,000 addresses. A circle is shown, except
    where it passes another customer's address.
    """
    instead = {address: tuple(destinations)}
    above = leading_to(address)
    routes = load({address, *above}, instead=instead)
    if loop := routes.loop_from(address):
        raise _circle(loop, address, routes, customer_id)
    for start in {address, *above}:
        if routes.steps_from(start) > MAX_STEPS:
            raise ValidationError(
                _("Mail may be forwarded at most %(most)d times in a row.") % {"most": MAX_STEPS},
                code="deep",
            )
        if len(routes.reached_from(start)) > MAX_ADDRESSES:
            raise ValidationError(
                _("This would lead one message to more than %(most)s addresses.")
                % {"most": f"{MAX_ADDRESSES:,}"},
                code="wide",
            )


def _circle(loop: list[str], address: str, routes: RouteMap, customer_id: int) -> ValidationError:
    """Say that mail would go in a circle, without naming another customer's addresses."""
    owners = {routes.stops[stop].customer_id for stop in loop}
    if owners != {customer_id}:
        first = routes.stops[address].leads_to
        through = next((onward for onward in first if onward in loop), first[0])
        return ValidationError(
            _("%(address)s leads back to this address.") % {"address": readable_address(through)},
            code="loop",
        )
    way = " → ".join(map(readable_address, loop))
    return ValidationError(
        _("Mail would go round in a circle: %(way)s.") % {"way": way}, code="loop"
    )
