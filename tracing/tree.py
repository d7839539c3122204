"""The address map: where mail for an address goes, as a tree with what is wrong marked in it.

It is made of `forwarding.routes`, the same map that guards saving, so that what is shown and what
is refused can never differ. Another customer's address is where it ends, as an outside one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from accounts.models import Account, Domain, accounts_by_address, mailbox_key
from accounts.names import readable_address
from forwarding import routes
from forwarding.routes import End, RouteMap
from propagation.prepared import Prepared
from propagation.progress import LIVE, Progress, progress_of
from quota.fill import Fill, fills

#: Addresses drawn below one, and in all: a list has up to a thousand members.
MOST_BELOW = 20
MOST = 200


@dataclass(slots=True)
class Node:
    """One address of the tree.

    `end` is what stands there. `again`: it stands above already, so that mail goes in a circle.
    `dead`: no mail for it arrives anywhere. `copy`: the mailbox of the address above itself.
    `default`: an address that every domain has. `more`: how many below are not drawn.
    """

    address: str
    end: End
    own: bool = False
    again: bool = False
    dead: bool = False
    copy: bool = False
    default: bool = False
    progress: Progress = LIVE
    domain: Domain | None = None
    account: Account | None = None
    fill: Fill | None = None
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
        return self.end == End.FORWARD and [one.is_catch_all for one in self.below] == [True]

    def walk(self) -> Iterator[Node]:
        """Yield this one and all below, from above."""
        yield self
        for one in self.below:
            yield from one.walk()


@dataclass(frozen=True, slots=True)
class Tree:
    """Where mail for an address of a customer's goes."""

    root: Node
    # More addresses than may be: then only the first is there.
    too_wide: bool = False

    def nodes(self) -> list[Node]:
        """Return all addresses of the tree, from above."""
        return list(self.root.walk())

    def mailboxes(self) -> list[Node]:
        """Return the customer's own mailboxes in which mail arrives."""
        return [node for node in self.nodes() if node.end == End.MAILBOX and node.account]

    @property
    def loops(self) -> bool:
        """Whether mail goes in a circle somewhere."""
        return any(node.again for node in self.nodes())


def tree_of(domain: Domain, address: str) -> Tree:
    """Return the tree of an address, in lower case, of the domain's customer.

    A fixed number of queries for each step of forwarding, and four more.
    """
    try:
        found = routes.load([address])
    except ValidationError:
        return Tree(Node(address, End.FORWARD, own=True), too_wide=True)
    tree = Tree(_Planting(found, domain.customer_id).plant(address))
    _mark(tree.nodes(), domain)
    return tree


class _Planting:
    """Makes the nodes of one tree."""

    def __init__(self, found: RouteMap, customer_id: int) -> None:
        self._found = found
        self._customer_id = customer_id
        self._left = MOST

    def plant(self, address: str, above: tuple[str, ...] = ()) -> Node:
        stop = self._found.stops.get(address)
        end = stop.end if stop else End.OUTSIDE
        own = stop is not None and stop.customer_id == self._customer_id
        again, dead = address in above, not self._found.arrives(address)
        self._left -= 1
        if not own:
            # Whatever stands there is not this customer's to know, but for mail that comes back.
            back = any(one in self._found.reached_from(address) for one in above)
            return Node(address, End.OUTSIDE, again=again or back, dead=dead)
        node = Node(address, end, own=True, again=again, dead=dead)
        if not again and stop is not None:
            self._grow(node, stop.leads_to, (*above, address))
        return node

    def _grow(self, node: Node, leads_to: tuple[str, ...], above: tuple[str, ...]) -> None:
        drawn = leads_to[:MOST_BELOW]
        for number, onward in enumerate(drawn):
            if self._left <= 0:
                drawn = drawn[:number]
                break
            if onward == node.address:
                self._left -= 1
                node.below.append(Node(onward, End.MAILBOX, own=True, copy=True))
            else:
                node.below.append(self.plant(onward, above))
        node.more = len(leads_to) - len(drawn)


def _mark(nodes: Iterable[Node], domain: Domain) -> None:
    """Note on the customer's own addresses what waits there, and how full mailboxes are."""
    own = [node for node in nodes if node.own]
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
    return is_fixed and [one.address for one in node.below] == [fixed]


def _live(node: Node) -> list[str]:
    """Return where an address leads until its change is made, if that is elsewhere."""
    change = node.progress.change
    if change is None or change.removes or node.end != End.FORWARD:
        return []
    now, wished = ((was or {}).get("destinations", []) for was in (change.before, change.after))
    return [] if now == wished else [readable_address(to) for to in now]
