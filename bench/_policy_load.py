"""Postfix's side of the policy protocol: processes that ask as fast as they are answered.

Each connection stands for one smtpd(8): it sends one question and waits for the answer. Its
messages go to ten recipients each and then end, as messages do that are accepted.
"""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

CONNECTIONS = 20
RECIPIENTS = 10
ACCOUNTS = 500

YES = frozenset((b"action=DUNNO\n\n", b"action=OK\n\n", b"action=dunno\n\n"))

Address = str | tuple[str, int]
_REQUEST = """\
request=smtpd_access_policy
protocol_state={state}
protocol_name=ESMTP
client_address={address}
client_name=pc.customer.example
client_port=51234
reverse_client_name=pc.customer.example
server_address=192.0.2.200
server_port=587
helo_name=pc.customer.example
sender=box{account}@bench.example
recipient=INSERT
recipient_count={count}
queue_id=
instance={process:x}.6564f1d3.{message:x}.0
size=4321
etrn_domain=
stress=
sasl_method=PLAIN
sasl_username=box{account}
sasl_sender=
ccert_subject=
ccert_issuer=
ccert_fingerprint=
ccert_pubkey_fingerprint=
encryption_protocol=TLSv1.3
encryption_cipher=TLS_AES_256_GCM_SHA384
encryption_keysize=256
policy_context={context}

"""


@dataclass(slots=True)
class Measured:
    """What a run gave: recipients answered for, answers, seconds, and each answer's seconds."""

    recipients: int = 0
    answers: int = 0
    seconds: float = 0.0
    waits: list[float] = field(default_factory=list)


def requests(process: int, first: int) -> Iterator[tuple[bytes, bool]]:
    """Yield for ever what one smtpd asks, and whether it is about a recipient.

    `first` numbers its first message: no two runs may have one message in common.
    """
    for message in itertools.count(first):
        account = (process * 7919 + message) % ACCOUNTS
        values = {
            "account": account,
            "address": f"192.0.{account // 250}.{account % 250}",
            "process": 4096 + process,
            "message": message,
        }
        text = _REQUEST.format(**values, state="RCPT", count=0, context="submission")
        head, tail = text.encode().split(b"INSERT")
        for n in range(RECIPIENTS):
            yield b"%sr%d-%d@outside.example%s" % (head, message, n, tail), True
        text = _REQUEST.format(
            **values, state="END-OF-MESSAGE", count=RECIPIENTS, context="end_submission"
        )
        yield text.replace("INSERT", "").encode(), False


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    requests: Iterator[tuple[bytes, bool]]
    sent_at: float = 0.0
    is_recipient: bool = True


def load(address: Address, seconds: float, first: int) -> Measured:
    """Ask for so long over all connections, and on to the end of each one's message.

    RuntimeError for any answer but a yes.
    """
    measured = Measured()
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for process in range(CONNECTIONS):
            family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
            connection = stack.enter_context(socket.socket(family))
            connection.connect(address)
            client = _Client(connection, requests(process, first))
            selector.register(connection, selectors.EVENT_READ, client)
        begin = time.perf_counter()
        for key in selector.get_map().values():
            key.data.connection.sendall(next(key.data.requests)[0])
            key.data.sent_at = begin
        end = begin + seconds
        while selector.get_map():
            for key, _ in selector.select():
                client = key.data
                answer = client.connection.recv(512)
                clock = time.perf_counter()
                if answer not in YES:
                    raise RuntimeError(f"answered {answer!r}")
                measured.waits.append(clock - client.sent_at)
                measured.recipients += client.is_recipient
                if clock >= end and not client.is_recipient:
                    selector.unregister(client.connection)
                    continue
                request, client.is_recipient = next(client.requests)
                client.connection.send(request)
                client.sent_at = clock
        measured.seconds = time.perf_counter() - begin
    measured.answers = len(measured.waits)
    return measured
