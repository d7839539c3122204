"""What is offered in tests: the manual's account for 300 yen, and two samples."""

from __future__ import annotations

import pytest

from accounts.models import MEGABYTE
from orders.models import Option, OptionKind
from tests.conftest import Cast


@pytest.fixture
def one_more(cast: Cast) -> Option:
    """One more POP account for 300 yen."""
    return Option.objects.create(kind=OptionKind.ACCOUNT, amount=1, setup_yen=300)


@pytest.fixture
def larger(cast: Cast) -> Option:
    """A mailbox larger by 10 MB for 500 yen."""
    return Option.objects.create(kind=OptionKind.MAILBOX, amount=10 * MEGABYTE, setup_yen=500)


@pytest.fixture
def messages(cast: Cast) -> Option:
    """Messages larger by 7 MB, for nothing."""
    return Option.objects.create(kind=OptionKind.MESSAGE, amount=7 * MEGABYTE, setup_yen=0)
