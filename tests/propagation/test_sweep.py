"""Beat's minute, with a real Redis: one message per server with something due."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.test import Client

from accounts.models import Account
from propagation.models import Change
from propagation.tasks import ask_servers, sweep
from tests import factories
from tests.conftest import Cast

pytestmark = [pytest.mark.servers, pytest.mark.django_db]


@pytest.fixture(scope="module")
def broker() -> Iterator[redis.Redis]:
    """A Redis of these tests' own, at the address that the settings name."""
    socket = Path(settings.REDIS_URL.removeprefix("unix://"))
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""]
    server = subprocess.Popen([*command, "--dir", str(socket.parent)], stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(socket))
    try:
        while not socket.exists():
            assert server.poll() is None
            time.sleep(0.02)
        yield client
    finally:
        client.close()
        server.terminate()
        server.wait(10)


@pytest.fixture
def queues(broker: redis.Redis) -> redis.Redis:
    """The broker with every queue empty."""
    broker.flushall()
    return broker


def test_sweep_sends_one_message_to_each_server_with_something_due(
    cast: Cast, queues: redis.Redis
) -> None:
    idle = factories.make_server("mail2.plusmail.test")
    factories.settle(idle)
    sweep()
    assert queues.llen(cast.server.queue) == 0
    for name in ("one", "two"):
        factories.make_account(cast.com, name)
    sweep()
    assert queues.llen(cast.server.queue) == 0
    factories.come_due()
    sweep()
    assert queues.llen(cast.server.queue) == 1
    assert queues.llen(idle.queue) == 0


def test_emptied_broker_loses_nothing(cast: Cast, queues: redis.Redis) -> None:
    factories.make_account(cast.com, "one")
    factories.come_due()
    sweep()
    queues.flushall()
    sweep()
    assert queues.llen(cast.server.queue) == 1
    assert Change.objects.pending().count() == 1


def test_message_holds_no_secret(cast: Cast, queues: redis.Redis) -> None:
    factories.make_account(cast.com, "one")
    factories.come_due()
    sweep()
    (message,) = queues.lrange(cast.server.queue, 0, -1)
    assert b"$6$" not in message
    assert b"one" not in message


def test_every_server_is_asked_on_its_own_queue(cast: Cast, queues: redis.Redis) -> None:
    second = factories.make_server("mail2.plusmail.test")
    ask_servers()
    assert queues.llen(cast.server.queue) == queues.llen(second.queue) == 1


@pytest.mark.django_db(transaction=True)
def test_apply_now_in_the_admin_wakes_the_worker(
    cast: Cast, operator: Client, queues: redis.Redis
) -> None:
    account: Account = factories.make_account(cast.com, "one")
    change = factories.pending(account.key)
    form = {"action": "apply_now", "_selected_action": [str(change.pk)]}
    operator.post("/admin/propagation/change/", form)
    assert queues.llen("celery") == 1
