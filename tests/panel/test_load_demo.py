"""The demo's data: loaded once, by the doors that customers use."""

import stat
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from accounts.models import Account, Domain, Plan, User
from propagation.models import Change, MailServer
from tests import factories

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def demo(db: None, settings: Settings, tmp_path: Path) -> Path:
    """The demo's settings; returns where it writes the logins."""
    settings.DEMO = True
    settings.VAR = tmp_path
    return tmp_path / "demo-logins.txt"


def test_demo_has_two_customers_and_the_manuals_four_plans(demo: Path) -> None:
    call_command("load_demo", verbosity=0)
    assert set(User.objects.values_list("username", flat=True)) == {"operator", "sakura", "wakaba"}
    assert Plan.objects.filter(self_service=True).count() == 4
    assert Plan.objects.filter(self_service=False).count() == 1
    assert not Plan.objects.filter(is_sample=False).exists()
    assert Domain.objects.get(name="example.net").fixed_account.address == "example@example.com"


def test_logins_are_written_for_their_owner_only_and_work(demo: Path) -> None:
    call_command("load_demo", verbosity=0)
    assert stat.S_IMODE(demo.stat().st_mode) == 0o600
    lines = demo.read_text().splitlines()
    for login in ("operator", "sakura", "wakaba"):
        password = next(line.split()[2] for line in lines if f" {login} " in line)
        assert User.objects.get(username=login).check_password(password)


def test_everything_of_it_is_due_at_once_and_in_order(demo: Path) -> None:
    call_command("load_demo", verbosity=0)
    keys = factories.settle()
    assert len(keys) == Change.objects.count()
    assert keys.index("mailbox:tanaka") < keys.index("address:sales@example.com")
    assert keys.index("address:sales@example.com") < keys.index("list:news@example.com")


def test_second_load_keeps_what_is_there(demo: Path) -> None:
    call_command("load_demo", verbosity=0)
    Account.objects.get(name="suzuki").set_password("another-long-word")
    before = (demo.read_text(), Change.objects.count(), MailServer.objects.count())
    call_command("load_demo", verbosity=0)
    assert (demo.read_text(), Change.objects.count(), MailServer.objects.count()) == before


def test_demo_is_refused_outside_the_demo(settings: Settings) -> None:
    settings.DEMO = False
    with pytest.raises(CommandError):
        call_command("load_demo", verbosity=0)
    assert not User.objects.exists()
