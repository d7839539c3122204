"""Where an address leads: the map of addresses, loaded level by level, and what it tells.

`load` asks the panel's database, a fixed number of queries per step of forwarding;
everything else is plain functions on what was loaded. The same map guards saving
and marks dead ends on the pages. A mailing list leads to its members. Limits: ten steps
(ours); 1,000 addresses out of one up to where it ends or a list takes over (Postfix,
virtual_alias_expansion_limit); and 1,000 copies of one message, lists included (ours).
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import Account, DeletedAccount, Domain
from accounts.names import readable_address
from mailhost.records import list_addresses
from propagation.models import Change, parts
from propagation.prepared import Prepared

MAX_STEPS = 10
MAX_ADDRESSES = 1000
# Past this an edit is refused before it costs more: its own addresses and those they reach.
# A member of several full lists brings all their members with it.
MOST_LOADED = 10 * MAX_ADDRESSES
# The same for all edits of one file together.
MOST_LOADED_AT_ONCE = 50 * MOST_LOADED
# What a list's name is followed by in the address of its bounces.
BOUNCES = list_addresses("@")[1].removesuffix("@")
# Addresses that every domain has (RFC 2142); unless led elsewhere they reach the fixed account.
ALWAYS = frozenset({"postmaster", "abuse"})


class End(enum.StrEnum):
    """What stands at an address."""

    FORWARD = "forward"
    LIST = "list"
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

    def steps_from(self, start: str, known: dict[str, int] | None = None) -> int:
        """Return the longest number of forwards in a row; call only where there is no loop.

        `known` carries what is worked out from one start to the next.
        """
        known = {} if known is None else known

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

    def is_wide(self, start: str) -> bool:
        """Whether a message to `start` becomes more addresses, or more copies, than it may."""
        seen: set[str] = set()
        open_ends = [start]
        copies = 0
        while open_ends and copies <= MAX_ADDRESSES:
            address = open_ends.pop()
            if address not in seen:
                seen.add(address)
                copies += self._end(address) not in (End.FORWARD, End.LIST)
                open_ends.extend(self._onward(address))
        return copies > MAX_ADDRESSES or len(self._expansion(start)) > MAX_ADDRESSES

    def _expansion(self, start: str) -> set[str]:
        """Return what Postfix makes of one recipient; a list's copies are messages of their own."""
        seen: set[str] = set()
        open_ends = [start]
        while open_ends and len(seen) <= MAX_ADDRESSES:
            address = open_ends.pop()
            if address not in seen:
                seen.add(address)
                if self._end(address) != End.LIST:
                    open_ends.extend(self._onward(address))
        return seen

    def arrives(self, start: str) -> bool:
        """Whether mail to `start` reaches a mailbox or a list, or leaves for another server."""
        return any(self._takes_mail(address) for address in self.reached_from(start))

    def arriving(self) -> set[str]:
        """Return every address of the map of which `arrives` is true, in one go."""
        above: dict[str, list[str]] = defaultdict(list)
        for address in self.stops:
            for onward in self._onward(address):
                above[onward].append(address)
        seen: set[str] = set()
        open_ends = [address for address in {*self.stops, *above} if self._takes_mail(address)]
        while open_ends:
            address = open_ends.pop()
            if address not in seen:
                seen.add(address)
                open_ends.extend(above[address])
        return seen

    def comes_back(self, start: str) -> bool:
        """Whether a message to `start` comes to `start` again."""
        return any(start in self.reached_from(onward) for onward in self._onward(start))

    def arrives_without_a_list(self, start: str) -> bool:
        """Whether mail to `start` arrives somewhere that takes it from anybody."""
        reached = self._expansion(start)
        return any(
            self._takes_mail(address) and self._end(address) != End.LIST for address in reached
        )

    def lists_behind(self, start: str) -> list[str]:
        """Return the mailing lists to which mail for `start` comes, not those behind a list."""
        return [
            address for address in sorted(self._expansion(start)) if self._end(address) == End.LIST
        ]

    def mailbox_behind(self, start: str) -> str:
        """Return the one mailbox in which all mail for `start` ends; "" if there is none.

        That is the mailbox which Dovecot opens to who logs in as `start` (its password_query,
        in mailhost/render). A mailing list or a catch-all on the way leads to none.
        """
        ends: set[str] = set()
        seen: set[str] = set()
        open_ends = [start]
        while open_ends:
            address = open_ends.pop()
            if address in seen:
                continue
            seen.add(address)
            stop = self.stops.get(address)
            if stop is None or stop.end != End.FORWARD:
                ends.add(address)
                continue
            for to in stop.leads_to:
                if to == address or to.startswith("@"):
                    ends.add(address)
                else:
                    open_ends.append(to)
        [end, *others] = ends
        return end if not others and self._end(end) == End.MAILBOX else ""

    def _takes_mail(self, address: str) -> bool:
        stop = self.stops.get(address)
        keeps_copy = stop is not None and address in stop.leads_to
        return keeps_copy or self._end(address) in (End.LIST, End.MAILBOX, End.OUTSIDE)

    def _end(self, address: str) -> End:
        """Return what stands at an address; of what was not loaded only that it is somewhere."""
        stop = self.stops.get(address)
        return stop.end if stop else End.OUTSIDE

    def _onward(self, address: str) -> tuple[str, ...]:
        """Return where `address` leads, without the copy it keeps for itself."""
        stop = self.stops.get(address)
        if stop is None:
            return ()
        return tuple(onward for onward in stop.leads_to if onward != address)


def load(
    addresses: Iterable[str],
    *,
    instead: Mapping[str, Stop] | None = None,
    steps: int = 0,
    most: int = MOST_LOADED,
) -> RouteMap:
    """Load what stands at `addresses`, and at what they lead to, `steps` levels deep.

    0 stands for as deep as a rule can matter; more than `most` addresses are refused.
    `instead` holds addresses as an edit is about to make them; End.NOWHERE: nothing of
    their own.
    """
    instead = instead or {}
    found = RouteMap()
    hosted: dict[str, Domain | None] = {}
    fresh = {address.lower() for address in addresses}
    for _level in range(steps or MAX_STEPS + 2):
        if not fresh:
            break
        if len(found.stops) + len(fresh) > most:
            raise _too_wide()
        found.stops |= _stops(fresh, instead, hosted)
        fresh = {
            onward.lower()
            for address in fresh
            for onward in found.stops[address].leads_to
            if onward.lower() not in found.stops
        }
    return found


def _stops(
    addresses: set[str], instead: Mapping[str, Stop], hosted: dict[str, Domain | None]
) -> dict[str, Stop]:
    """Look up one level of addresses; `hosted` keeps the domains that are known already."""
    split = {address: address.rpartition("@")[::2] for address in addresses}
    if new := {domain for _local, domain in split.values()} - hosted.keys():
        hosted |= dict.fromkeys(new) | {row.name: row for row in _hosted(names=sorted(new))}
    names = {address: local for address, (local, domain) in split.items() if hosted[domain]}
    domains = {name: row for name in map(_domain_of, names) if (row := hosted[name])}
    here = _Here(domains, names, instead)
    return {
        address: here.stop(local, domain) if domain in domains else Stop(End.OUTSIDE)
        for address, (local, domain) in split.items()
    }


def _domain_of(address: str) -> str:
    return address.rpartition("@")[2]


class _Here:
    """What stands at some addresses of some hosted domains, with an edit taken into account.

    What is about to be deleted counts as gone: an edit takes effect after it, since it
    is due later, and whoever takes the deletion back is judged then. Where an address is led,
    nothing else is asked about it.
    """

    def __init__(
        self, domains: dict[str, Domain], names: Mapping[str, str], instead: Mapping[str, Stop]
    ) -> None:
        """Look them up; `names` are the parts before the @, by address."""
        self._domains = domains
        self._instead = instead
        self._led = {address: stop for address, stop in instead.items() if stop.end != End.NOWHERE}
        led = _led(domains, {*names.values(), ""})
        self._add(led, self._leaving(led, set()))
        rest = {local for address, local in names.items() if address not in self._led}
        lists = _lists(domains, rest) if rest else {}
        boxes = _pairs(Account, domains, rest)
        leaving = self._leaving(lists, boxes)
        self._add(lists, leaving)
        going = {
            (name, domain)
            for name, domain in boxes
            if (domains[domain].server_id, f"mailbox:{name}") in leaving
        }
        self._boxes = boxes - going
        caught = [name for name in domains if f"@{name}" in self._led]
        self._held = going | _pairs(DeletedAccount, caught, rest)

    def _add(self, stops: Mapping[str, Stop], leaving: set[tuple[int, str]]) -> None:
        """Note where mail is led by what stays and is not edited."""
        for address, stop in stops.items():
            record = self._server(address), f"{_KINDS[stop.end]}:{address}"
            if address not in self._instead and record not in leaving:
                self._led[address] = stop

    def _leaving(
        self, stops: Mapping[str, Stop], boxes: set[tuple[str, str]]
    ) -> set[tuple[int, str]]:
        """Return which of these records are about to go, each with its server."""
        keys = [f"{_KINDS[stop.end]}:{address}" for address, stop in stops.items()]
        keys += [f"mailbox:{name}" for name, _domain in boxes]
        return _leaving(self._domains.values(), keys) if keys else set()

    def _server(self, address: str) -> int:
        return self._domains[_domain_of(address)].server_id

    def stop(self, local: str, name: str) -> Stop:
        """Return what stands at `local`@`name`."""
        domain = self._domains[name]
        address, owner = f"{local}@{name}", domain.customer_id
        if stop := self._led.get(address):
            leads = tuple(onward.lower() for onward in stop.leads_to)
            return replace(stop, leads_to=leads, customer_id=owner)
        if (local, name) in self._boxes:
            return Stop(End.MAILBOX, (), owner)
        if self._is_bounces(address):
            # Whatever comes there is looked at and ends.
            return Stop(End.LIST, (), owner)
        fixed = domain.fixed_account.address
        if (local in ALWAYS or local == domain.label) and address != fixed:
            return Stop(End.FORWARD, (fixed,), owner)
        if local and (local, name) not in self._held and f"@{name}" in self._led:
            return Stop(End.FORWARD, (f"@{name}",), owner)
        return Stop(End.NOWHERE, (), owner)

    def _is_bounces(self, address: str) -> bool:
        """Whether what a list cannot deliver comes back here."""
        of_list = list_of_bounces(address)
        return bool(of_list) and of_list in self._led and self._led[of_list].end == End.LIST


# What leads on, by the first part of its record's key.
_KINDS = {End.FORWARD: "address", End.LIST: "list"}


def list_of_bounces(address: str) -> str:
    """Return the list to which `address` would belong as that of its bounces; "" for others."""
    local, _at, domain = address.rpartition("@")
    of_list = f"{local.removesuffix(BOUNCES)}@{domain}"
    return of_list if list_addresses(of_list)[1] == address else ""


def _led(domains: Iterable[str], names: set[str]) -> dict[str, Stop]:
    """Return where these local parts of these domains are forwarded, by address."""
    found: dict[str, list[str]] = defaultdict(list)
    for local, domain, to in _destinations(domains=sorted(domains), names=sorted(names)):
        found[f"{local}@{domain}"].append(to)
    return {address: Stop(End.FORWARD, tuple(leads)) for address, leads in found.items()}


def _lists(domains: Iterable[str], names: set[str]) -> dict[str, Stop]:
    """Return the members of these domains' lists of these names, by address.

    Also of the lists whose bounces come to one of the names.
    """
    names = names | {name.removesuffix(BOUNCES) for name in names}
    found: dict[str, list[str]] = defaultdict(list)
    for local, domain, member, left_at in _members(domains=sorted(domains), names=sorted(names)):
        members = found[f"{local}@{domain}"]
        if member and left_at is None:
            members.append(member)
    return {address: Stop(End.LIST, tuple(members)) for address, members in found.items()}


def _leaving(domains: Iterable[Domain], keys: list[str]) -> set[tuple[int, str]]:
    """Return which of these records are about to go, each with its server."""
    servers = sorted({domain.server_id for domain in domains})
    newest = {
        (change.server_id, change.key): change for change in _open(servers=servers, keys=keys)
    }
    return {record for record, change in newest.items() if change.removes}


def _pairs(
    model: type[Account | DeletedAccount], domains: Iterable[str], names: set[str]
) -> set[tuple[str, str]]:
    """Return the (name, domain) pairs that exist, of these names in these domains."""
    return set(_named(model, domains=sorted(domains), names=sorted(names)))


# Asked for each step of forwarding.


@Prepared
def _hosted(names: list[str]) -> QuerySet[Domain]:
    return Domain.objects.filter(name__in=names).select_related("fixed_account__domain")


@Prepared
def _destinations(domains: list[str], names: list[str]) -> QuerySet[Any, tuple[str, str, str]]:
    rows = _model("Destination").filter(
        forwarding__domain__name__in=domains, forwarding__local_part__in=names
    )
    columns = "forwarding__local_part", "forwarding__domain__name", "address"
    found: QuerySet[Any, tuple[str, str, str]] = rows.order_by("position").values_list(*columns)
    return found


@Prepared
def _members(domains: list[str], names: list[str]) -> QuerySet[Any, tuple[str, str, str, Any]]:
    lists = _model("MailingList").filter(domain__name__in=domains, local_part__in=names)
    # One without members is a list as well.
    columns = "local_part", "domain__name", "members__address", "members__left_at"
    found: QuerySet[Any, tuple[str, str, str, Any]] = lists.order_by("pk").values_list(*columns)
    return found


@Prepared
def _open(servers: list[int], keys: list[str]) -> QuerySet[Change]:
    changes = Change.objects.open().filter(server__id__in=servers, key__in=keys)
    return changes.only("server", "key", "before", "after", "state").order_by("pk")


@Prepared
def _named(
    model: type[Account | DeletedAccount], domains: list[str], names: list[str]
) -> QuerySet[Any, tuple[str, str]]:
    rows = model._default_manager.filter(name__in=names, domain__name__in=domains)
    return rows.order_by().values_list("name", "domain__name")


def _model(name: str) -> Any:
    """Return all rows of one of this app's models, which themselves use this module."""
    return apps.get_model("forwarding", name)._default_manager.all()


def leading_to(address: str, customer_id: int) -> set[str]:
    """Return the customer's addresses through which mail can reach `address`, any depth.

    Another customer's chain that ends here is not judged: nobody can block another's
    forwards by leading to them. A catch-all is reached through every destination in its
    domain that nothing stands at. Raises ValidationError past 1,000 addresses.
    """
    forwards = _model("Destination").filter(forwarding__domain__customer=customer_id)
    members = _model("Member").filter(mailing_list__domain__customer=customer_id, left_at=None)
    seen: set[str] = set()
    fresh = {address}
    if address.startswith("@"):
        fresh |= _falling_to(address, forwards) | _falling_to(address, members)
    for _level in range(MAX_STEPS + 2):
        named = {
            *forwards.filter(lowered__in=fresh).values_list(
                "forwarding__local_part", "forwarding__domain__name"
            ),
            *members.filter(lowered__in=fresh).values_list(
                "mailing_list__local_part", "mailing_list__domain__name"
            ),
        }
        fresh = {f"{local}@{domain}" for local, domain in named} - seen - {address}
        if not fresh:
            break
        seen |= fresh
        if len(seen) > MAX_ADDRESSES:
            raise _too_many_above()
    return seen


def _too_many_above() -> ValidationError:
    return ValidationError(
        _("More than %(most)s of your addresses lead here.") % {"most": f"{MAX_ADDRESSES:,}"},
        code="above",
    )


def _falling_to(catch_all: str, destinations: Any) -> set[str]:
    """Return the destinations in the catch-all's domain that have nothing of their own."""
    named = destinations.filter(lowered__endswith=catch_all)
    found = set(named.values_list("lowered", flat=True).distinct()[: MAX_ADDRESSES + 1])
    stops = load(found, instead={catch_all: Stop(End.NOWHERE)}, steps=1).stops
    return {address for address in found if stops[address].end == End.NOWHERE}


def check(
    address: str, destinations: Iterable[str], *, customer_id: int, is_list: bool = False
) -> None:
    """Raise ValidationError unless `address` may lead to `destinations`.

    None of them: it may be gone. Those of a list (`is_list`) are its members, if it has any.

    Judges what becomes of the address itself and of every address that leads to it:
    no circle, at most ten steps, at most 1,000 addresses, and no postmaster or abuse
    without an end. A circle is shown, except where it passes another customer's address.
    The cost is bounded by what may be loaded, whoever built it.
    """
    leads = tuple(destinations)
    end = End.LIST if is_list else End.FORWARD if leads else End.NOWHERE
    instead = {address: Stop(end, leads)}
    above = leading_to(address, customer_id)
    routes = load({address, *above}, instead=instead)
    _judge(address, above, routes, customer_id)


def _judge(address: str, above: set[str], routes: RouteMap, customer_id: int) -> None:
    """Raise ValidationError where `routes`, an edit of `address` taken in, breaks a rule.

    `above` are the customer's addresses that lead to it.
    """
    if loop := routes.loop_from(address):
        raise _circle(loop, address, routes, customer_id)
    known: dict[str, int] = {}
    for start in {address, *above}:
        if routes.steps_from(start, known) > MAX_STEPS:
            raise ValidationError(
                _("Mail may be forwarded at most %(most)d times in a row.") % {"most": MAX_STEPS},
                code="deep",
            )
    # Only a map of more addresses than that can lead one message to so many.
    if len(routes.stops) > MAX_ADDRESSES and any(map(routes.is_wide, {address, *above})):
        raise _too_wide()
    for start in {address, *above}:
        if start.partition("@")[0] in ALWAYS and not routes.arrives_without_a_list(start):
            raise _duty(start, routes)


class ManyEdits:
    """The map around many addresses that one customer edits at once, loaded in few queries.

    It takes one edit in after the other, each judged as check() would after those before it.
    Not for a catch-all, which changes what stands at other names.
    """

    def __init__(self, edits: Mapping[str, Iterable[str]], *, customer_id: int) -> None:
        """Take the addresses that are to be led, and where to, in lower case."""
        self._customer = customer_id
        self._named_by: dict[str, set[str]] = defaultdict(set)
        self._leads: dict[str, set[str]] = defaultdict(set)
        above = self._load_above(set(edits))
        new = {onward for leads in edits.values() for onward in leads}
        self._routes = load({*edits, *new, *above}, most=MOST_LOADED_AT_ONCE)

    def lead(self, address: str, destinations: Iterable[str]) -> None:
        """Let `address` lead there from now on, or raise ValidationError as check() does."""
        leads = tuple(to.lower() for to in destinations)
        above = self._above(address)
        stops = self._routes.stops
        was = stops[address]
        stops[address] = Stop(End.FORWARD, leads, self._customer)
        try:
            _judge(address, above, self._routes, self._customer)
        except ValidationError:
            stops[address] = was
            raise
        for to in self._leads.pop(address, set()):
            self._named_by[to].discard(address)
        for to in leads:
            self._note(address, to)

    def _note(self, address: str, to: str) -> None:
        self._named_by[to].add(address)
        self._leads[address].add(to)

    def _load_above(self, fresh: set[str]) -> set[str]:
        """Find all of the customer's addresses that lead to these, and which names which."""
        seen: set[str] = set()
        for _level in range(MAX_STEPS + 2):
            if not fresh or len(seen) > MOST_LOADED_AT_ONCE:
                break
            seen |= fresh
            found = {edge for some in parts(list(fresh)) for edge in self._edges(some)}
            for address, to in found:
                self._note(address, to)
            fresh = {address for address, _to in found} - seen
        return seen

    def _edges(self, fresh: list[str]) -> Iterator[tuple[str, str]]:
        """Yield which of the customer's addresses names which of these."""
        forwards = _model("Destination").filter(
            forwarding__domain__customer=self._customer, lowered__in=fresh
        )
        members = _model("Member").filter(
            mailing_list__domain__customer=self._customer, left_at=None, lowered__in=fresh
        )
        for rows, at in ((forwards, "forwarding"), (members, "mailing_list")):
            named = rows.values_list(f"{at}__local_part", f"{at}__domain__name", "lowered")
            for local, domain, to in named:
                yield f"{local}@{domain}", to

    def _above(self, address: str) -> set[str]:
        """Return what leading_to() would."""
        seen: set[str] = set()
        fresh = {address}
        for _level in range(MAX_STEPS + 2):
            fresh = {by for to in fresh for by in self._named_by.get(to, ())} - seen - {address}
            if not fresh:
                break
            seen |= fresh
            if len(seen) > MAX_ADDRESSES:
                raise _too_many_above()
        return seen


def _duty(start: str, routes: RouteMap) -> ValidationError:
    """Say that mail for the domain's postmaster would be lost."""
    if routes.arrives(start):
        words = _(
            "Mail for %(address)s must arrive in a mailbox as well: a mailing list does not take "
            "it from everybody."
        )
    else:
        words = _("Mail for %(address)s must arrive somewhere: this address does not exist.")
    return ValidationError(words % {"address": readable_address(start)}, code="duty")


def _too_wide() -> ValidationError:
    return ValidationError(
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
