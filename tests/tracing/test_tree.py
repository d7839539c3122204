"""The address map: every kind of place, each with what is the matter there."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from accounts.models import Account
from forwarding import removal
from forwarding.models import Destination, ForwardingAddress
from forwarding.routes import End
from mailhost.host import Status
from propagation.progress import Stage
from quota.models import MailboxUsage
from tests import factories
from tests.conftest import Cast
from tracing.tree import MOST, MOST_BELOW, Node, tree_of

pytestmark = pytest.mark.django_db


def fill(account: Account, percent: int) -> None:
    """Let the server have told how full a mailbox is."""
    MailboxUsage.objects.create(
        account=account, used=percent, limit=100, messages=1, asked_at=now()
    )


def drawn(node: Node) -> object:
    """Return a node as nested tuples of addresses."""
    return (node.address, *(drawn(one) for one in node.below)) if node.below else node.address


def test_forwards_are_followed_to_where_mail_ends(cast: Cast) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.make_forward(cast.net, "all", "tanaka@example.com", "x@outside.example")
    factories.make_forward(cast.com, "info", "all@example.net")
    factories.settle()
    tree = tree_of(cast.com, "info@example.com")
    assert drawn(tree.root) == (
        "info@example.com",
        ("all@example.net", "tanaka@example.com", "x@outside.example"),
    )
    ends = [node.end for node in tree.nodes()]
    assert ends == [End.FORWARD, End.FORWARD, End.MAILBOX, End.OUTSIDE]
    assert [str(node) for node in tree.mailboxes()] == ["tanaka@example.com"]
    assert not any(node.dead or node.again or node.full for node in tree.nodes())


def test_full_mailbox_is_marked(cast: Cast) -> None:
    fill(factories.make_account(cast.com, "tanaka"), 100)
    fill(factories.make_account(cast.com, "suzuki"), 99)
    factories.make_forward(cast.com, "info", "tanaka@example.com", "suzuki@example.com")
    tree = tree_of(cast.com, "info@example.com")
    assert {str(node): node.full for node in tree.mailboxes()} == {
        "tanaka@example.com": True,
        "suzuki@example.com": False,
    }


def test_dead_end_is_marked_all_the_way_up(cast: Cast) -> None:
    factories.make_forward(cast.com, "sales", "nobody@example.com")
    factories.make_forward(cast.com, "info", "sales@example.com")
    tree = tree_of(cast.com, "info@example.com")
    assert [(node.address, node.dead) for node in tree.nodes()] == [
        ("info@example.com", True),
        ("sales@example.com", True),
        ("nobody@example.com", True),
    ]


def test_circle_ends_where_it_closes(cast: Cast) -> None:
    factories.make_forward(cast.com, "a", "b@example.com")
    b = factories.make_forward(cast.com, "b", "x@outside.example")
    # No edit may close one; rows of an earlier time, or by hand, may.
    Destination.objects.create(forwarding=b, address="a@example.com", position=1)
    tree = tree_of(cast.com, "a@example.com")
    assert tree.circle
    assert drawn(tree.root) == (
        "a@example.com",
        ("b@example.com", "x@outside.example", "a@example.com"),
    )
    assert [node.address for node in tree.nodes() if node.again] == ["a@example.com"]


def test_catch_all_is_named(cast: Cast) -> None:
    factories.make_account(cast.com, "tanaka")
    factories.make_forward(cast.com, "", "tanaka@example.com")
    tree = tree_of(cast.com, "anything@example.com")
    assert drawn(tree.root) == (
        "anything@example.com",
        ("@example.com", "tanaka@example.com"),
    )
    assert tree.root.caught
    assert tree.root.below[0].is_catch_all


def test_copy_in_its_own_mailbox_is_shown(cast: Cast) -> None:
    fill(factories.make_account(cast.com, "tanaka"), 100)
    factories.make_forward(cast.com, "tanaka", "tanaka@example.com", "x@outside.example")
    [copy, outside] = tree_of(cast.com, "tanaka@example.com").root.below
    assert (copy.copy, copy.full, outside.end) == (True, True, End.OUTSIDE)


def test_address_that_every_domain_has_is_marked(cast: Cast) -> None:
    tree = tree_of(cast.com, "postmaster@example.com")
    assert (tree.root.default, drawn(tree.root)) == (
        True,
        ("postmaster@example.com", "example@example.com"),
    )
    factories.make_forward(cast.com, "postmaster", "x@outside.example")
    assert not tree_of(cast.com, "postmaster@example.com").root.default


def test_what_waits_and_what_failed_is_marked(cast: Cast) -> None:
    forward = factories.make_forward(cast.com, "info", "x@outside.example")
    assert tree_of(cast.com, "info@example.com").root.progress.stage == Stage.WAITING
    factories.settle()
    forward.lead(["y@outside.example"])
    root = tree_of(cast.com, "info@example.com").root
    assert root.live == ["x@outside.example"]
    assert [str(node) for node in root.below] == ["y@outside.example"]
    factories.settle(status=Status.UNCONFIRMED, reason="no answer")
    assert tree_of(cast.com, "info@example.com").root.progress.stage == Stage.FAILING


def test_account_on_its_way_out_is_nowhere_and_says_why(cast: Cast) -> None:
    account = factories.make_account(cast.com, "tanaka")
    factories.settle()
    removal.delete_account(account)
    root = tree_of(cast.com, "tanaka@example.com").root
    assert (root.end, root.progress.removing) == (End.NOWHERE, True)


def test_another_customer_s_address_is_where_it_ends(cast: Cast) -> None:
    """Neither where it leads nor how full it is, nor what waits there, is shown."""
    fill(factories.make_account(cast.other, "info"), 100)
    factories.make_forward(cast.other, "secret", "info@wakaba.example", "x@outside.example")
    factories.make_forward(cast.com, "out", "secret@wakaba.example")
    [theirs] = tree_of(cast.com, "out@example.com").root.below
    assert (theirs.end, theirs.below, theirs.fill) == (End.OUTSIDE, [], None)
    assert theirs.progress.change is None
    # The name is taken on the server, by another customer, with a change that waits.
    assert tree_of(cast.com, "info@example.com").root.progress.change is None


def test_long_list_is_cut(cast: Cast) -> None:
    members = [f"m{number}@outside.example" for number in range(100)]
    factories.make_list(cast.com, "club", *members)
    root = tree_of(cast.com, "club@example.com").root
    assert (root.end, len(root.below), root.more) == (
        End.LIST,
        MOST_BELOW,
        100 - MOST_BELOW,
    )


def test_wide_tree_is_cut(cast: Cast) -> None:
    for level in range(3):
        for number in range(15):
            leads = [f"f{level + 1}.{n}@example.com" for n in range(15)]
            row = ForwardingAddress.objects.create(domain=cast.com, local_part=f"f{level}.{number}")
            Destination.objects.bulk_create(
                Destination(forwarding=row, address=to, position=n) for n, to in enumerate(leads)
            )
    nodes = tree_of(cast.com, "f0.0@example.com").nodes()
    assert len(nodes) <= MOST
    assert any(node.more for node in nodes)


def test_places_past_the_cut_are_known(cast: Cast) -> None:
    members = [f"m{number}@outside.example" for number in range(MOST)]
    factories.make_list(cast.com, "club", *members, "nobody@example.com")
    tree = tree_of(cast.com, "club@example.com")
    assert [place.address for place in tree.places if place.dead] == ["nobody@example.com"]
    assert "nobody@example.com" not in {node.address for node in tree.nodes()}
    assert len(tree.places) == MOST + 2


def test_ten_steps_take_few_queries(cast: Cast) -> None:
    factories.make_account(cast.com, "tanaka")
    leads = "tanaka"
    for number in range(9, -1, -1):
        factories.make_forward(cast.com, f"step{number}", f"{leads}@example.com")
        leads = f"step{number}"
    factories.settle()
    with CaptureQueriesContext(connection) as queries:
        tree = tree_of(cast.com, "step0@example.com")
    assert len(tree.nodes()) == 11
    assert len(queries) <= 32
