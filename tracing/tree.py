"""The address map: where mail for an address goes, as a tree with what is wrong marked in it.

It is made of `forwarding.routes`, the same map that guards saving, so that what is shown and what
is refused can never differ. Another customer's address is where it ends, as an outside one is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from accounts.models import Account, Domain, accounts_by_address, mailbox_key
from accounts.names import readable_address
from forwarding import routes
from forwarding.routes import End, RouteMap
from propagation.models import parts
from propagation.prepared import Prepared
from propagation.progress import LIVE, Progress, progress_of
from quota.fill import Fill, fills

#: Addresses drawn below one, and in all: a list has up to a thousand members. What is the matter is
#: judged on all of them.
MOST_BELOW = 20
MOST = 200
# Places about which is asked at once.
_AT_ONCE = 1000


@dataclass(slots=True)
class Node:
    """One address, as a place where mail comes or as it stands in the drawn tree.

    `end` is what stands there. `again`: it stands above already, so that mail goes in a circle.
    `dead`: no mail for it arrives anywhere. `copy`: the mailbox of the address above itself.
    `default`: an address that every domain has. `works`: a mailbox of this name takes its mail
    until what waits here has come. `leads_to`: where the customer leads it, whether
    drawn below or not; `more`: how many below are not drawn.
    """

    address: str
    end: End
    own: bool = False
    again: bool = False
    dead: bool = False
    copy: bool = False
    default: bool = False
    works: bool = False
    progress: Progress = LIVE
    domain: Domain | None = None
    account: Account | None = None
    fill: Fill | None = None
    leads_to: tuple[str, ...] = ()
    live: list[str] = field(default_factory=list)
    below: list[Node] = field(default_factory=list)
    more: int = 0

    def __str__(self) -> str:
        return readable_address(self.address)

    @property
    def full(self) -> bool:
        """Whether it is a mailbox that takes no mail until there is room."""
        return self.fill is not None and self.fill.level == "full"

    @property
    def is_catch_all(self) -> bool:
        """Whether it stands for all names that the domain does not have."""
        return self.address.startswith("@")

    @property
    def caught(self) -> bool:
        """Whether mail comes here only because the domain takes that for all other names."""
        return self.end == End.FORWARD and len(self.leads_to) == 1 and self.leads_to[0][0] == "@"

    def walk(self) -> Iterator[Node]:
        """Yield this one and all below, from above."""
        yield self
        for one in self.below:
            yield from one.walk()


@dataclass(frozen=True, slots=True)
class Tree:
    """Where mail for an address of a customer's goes.

    `places` are all addresses that it comes to, each once, from above; `root` is the drawing, in
    which one may stand at several places and some are left out. `circle` is one to which its mail
    comes again. `too_wide`: more addresses than may be; then only the first is there.
    """

    root: Node
    places: list[Node]
    circle: Node | None = None
    too_wide: bool = False

    def leading_to(self, place: Node) -> Node:
        """Return the first address that the customer leads to a place; itself, if there is none."""
        above = (one for one in self.places if place.address in one.leads_to and one is not place)
        return next(above, place)

    def nodes(self) -> list[Node]:
        """Return what is drawn, from above."""
        return list(self.root.walk())

    def mailboxes(self) -> list[Node]:
        """Return the customer's own mailboxes in which mail arrives."""
        return [place for place in self.places if place.end == End.MAILBOX and place.account]


def tree_of(domain: Domain, address: str) -> Tree:
    """Return the tree of an address, in lower case, of the domain's customer.

    A fixed number of queries for each step of forwarding, and four more.
    """
    try:
        found = routes.load([address])
    except ValidationError:
        stop = routes.load([address], steps=1).stops[address]
        root = Node(address, stop.end, own=True, leads_to=stop.leads_to)
        return Tree(root, [root], too_wide=True)
    places = _places(found, address, domain.customer_id)
    _mark(places, domain)
    circle = _circle(found, places) if found.loop_from(address) else None
    return Tree(_Drawing(found, places).draw(address), places, circle)


def _places(found: RouteMap, start: str, customer_id: int) -> list[Node]:
    """Return where mail for `start` comes, as far as the customer himself leads it."""
    arriving = found.arriving()
    places, known, ahead = [], {start}, deque([start])
    while ahead:
        address = ahead.popleft()
        stop = found.stops.get(address)
        dead = stop is not None and address not in arriving
        if stop is None or stop.customer_id != customer_id:
            # Whatever stands there is not this customer's to know.
            places.append(Node(address, End.OUTSIDE, dead=dead))
            continue
        places.append(Node(address, stop.end, own=True, dead=dead, leads_to=stop.leads_to))
        if address in stop.leads_to:
            places.append(Node(address, End.MAILBOX, own=True, copy=True))
        fresh = [onward for onward in dict.fromkeys(stop.leads_to) if onward not in known]
        known.update(fresh)
        ahead.extend(fresh)
    return places


def _circle(found: RouteMap, places: Iterable[Node]) -> Node | None:
    """Return the first of the customer's addresses to which mail for it comes again."""
    own = (place for place in places if place.own and place.leads_to)
    return next((place for place in own if found.comes_back(place.address)), None)


class _Drawing:
    """Draws one tree."""

    def __init__(self, found: RouteMap, places: Iterable[Node]) -> None:
        self._found = found
        self._places = {(place.address, place.copy): place for place in places}
        self._left = MOST

    def draw(self, address: str, above: tuple[str, ...] = ()) -> Node:
        place = self._places[address, False]
        again = address in above
        self._left -= 1
        if not place.own:
            # Another's, of which only that mail comes back from there is told.
            again = again or any(one in self._found.reached_from(address) for one in above)
        node = replace(place, again=again, below=[])
        if place.own and not again:
            self._grow(node, (*above, address))
        return node

    def _grow(self, node: Node, above: tuple[str, ...]) -> None:
        drawn = node.leads_to[:MOST_BELOW]
        for number, onward in enumerate(drawn):
            if self._left <= 0:
                drawn = drawn[:number]
                break
            if onward == node.address:
                self._left -= 1
                node.below.append(replace(self._places[onward, True], below=[]))
            else:
                node.below.append(self.draw(onward, above))
        node.more = len(node.leads_to) - len(drawn)


def _mark(places: Iterable[Node], domain: Domain) -> None:
    """Note on the customer's own addresses what waits there, and how full mailboxes are."""
    own = [place for place in places if place.own]
    for some in parts(own, _AT_ONCE):
        _mark_some(some, domain)


def _mark_some(own: list[Node], domain: Domain) -> None:
    names = {node.address.rpartition("@")[2] for node in own}
    of_customer = _domains(customer=domain.customer_id, names=sorted(names))
    domains = {one.name: one for one in of_customer}
    boxes = [node.address for node in own if node.end in (End.MAILBOX, End.NOWHERE)]
    accounts = accounts_by_address(boxes)
    filled = fills([account.pk for account in accounts.values()])
    for node in own:
        node.domain = domains.get(node.address.rpartition("@")[2])
        if node.end in (End.MAILBOX, End.NOWHERE) and (account := accounts.get(node.address)):
            node.account, node.fill = account, filled.get(account.pk)
    _mark_progress(own)
    _mark_working(own)


@Prepared
def _domains(customer: int, names: list[str]) -> QuerySet[Domain]:
    own = Domain.objects.filter(customer=customer, name__in=names)
    return own.select_related("server", "fixed_account__domain")


def _mark_progress(own: Iterable[Node]) -> None:
    by_server: dict[int, list[Node]] = {}
    for node in own:
        if node.domain:
            by_server.setdefault(node.domain.server_id, []).append(node)
    for server_id, nodes in by_server.items():
        keys = {key for node in nodes for key in _keys(node)}
        known = progress_of(server_id, keys)
        for node in nodes:
            node.progress = next(
                (known[key] for key in _keys(node) if not known[key].at_rest), LIVE
            )
            node.default = node.end == End.FORWARD and not node.caught and _is_default(node)
            node.live = _live(node)


def _mark_working(own: Iterable[Node]) -> None:
    """Note where a new forward stands before a mailbox that has its address already."""
    new = [node for node in own if node.end == End.FORWARD and node.progress.creating]
    accounts = accounts_by_address([node.address for node in new]) if new else {}
    by_server: dict[int, list[str]] = {}
    for box in accounts.values():
        by_server.setdefault(box.server_id, []).append(box.key)
    known = {at: progress_of(at, keys) for at, keys in by_server.items()}
    for node in new:
        account = accounts.get(node.address)
        if account and not known[account.server_id][account.key].creating:
            node.works, node.live = True, [str(node)]


def _keys(node: Node) -> list[str]:
    """Return the keys of the records that stand at an address, or stood there."""
    # Names of mailboxes are the server's: another customer may have one of this name.
    box = [mailbox_key(node.address.partition("@")[0])] if node.account else []
    led = [f"address:{node.address}", f"list:{node.address}"]
    return box if node.end == End.MAILBOX else [*led, *box]


def _is_default(node: Node) -> bool:
    """Whether an address leads to the fixed account because every domain has it."""
    domain = node.domain
    if domain is None or node.progress.change is not None:
        return False
    local = node.address.partition("@")[0]
    fixed = domain.fixed_account.address
    is_fixed = local in routes.ALWAYS or local == domain.label
    return is_fixed and node.leads_to == (fixed,)


def _live(node: Node) -> list[str]:
    """Return where an address leads until its change is made, if that is elsewhere."""
    change = node.progress.change
    if change is None or change.removes or node.end != End.FORWARD:
        return []
    now, wished = ((was or {}).get("destinations", []) for was in (change.before, change.after))
    return [] if now == wished else [readable_address(to) for to in now]
