"""What becomes of a message for a list: sent on, refused, or passed over in silence.

Who posts is judged by the sender and the From line, both of which anybody can forge: a list
is as well guarded as mail is, not better.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message

from mailhost.lists import message
from mailhost.records import MailingList, posters_only

#: The answers of LMTP (RFC 2033), for Postfix, which tells the sender.
TAKEN = "250 2.0.0 Taken for the list"
PASSED_OVER = "250 2.0.0 Passed over"
#: Bytes of header that Postfix may have added at the door, where the size was judged exactly.
ADDED_BYTES = 512


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to send a message on, and the answer to Postfix."""

    post: bool
    answer: str


def judge(mailing_list: MailingList, sender: str, content: bytes, most_bytes: int) -> Verdict:
    """Say what becomes of a message by the envelope sender `sender` ("" for the null sender).

    `most_bytes` is the longest that may be posted.
    """
    header = message.header_of(content)
    if message.has_passed(header, mailing_list.address):
        return Verdict(False, PASSED_OVER)
    if not sender or message.is_automatic(header):
        # Never answered: a refusal would be one more automatic message (RFC 3834, section 2).
        return Verdict(False, PASSED_OVER)
    if not _may_post(mailing_list, sender, header):
        words = posters_only(mailing_list.posters, mailing_list.address)
        return Verdict(False, f"550 5.7.1 Only {words}")
    if (size := message.size(content)) > most_bytes + ADDED_BYTES:
        return Verdict(
            False,
            f"552 5.2.3 The list {mailing_list.address} takes messages of up to"
            f" {most_bytes} bytes; this one has {size}",
        )
    return Verdict(True, TAKEN)


def _may_post(mailing_list: MailingList, sender: str, header: Message) -> bool:
    if mailing_list.posters == "anyone":
        return True
    authors = message.authors(header)
    return mailing_list.admits(sender) and len(authors) == 1 and mailing_list.admits(authors[0])
