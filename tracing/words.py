"""What a verdict says to its reader: one sentence, and one button."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from accounts.models import Domain
from accounts.names import readable_address
from forwarding.routes import End
from propagation.progress import clock
from tracing.diagnosis import Code, Verdict
from tracing.models import MailEvent, Side
from tracing.reasons import Reason, reason_of, words_of
from tracing.tree import Node
from tracing.whose import Asked


@dataclass(frozen=True, slots=True)
class Button:
    """Where the reader goes from here."""

    label: str
    url: str


def sentence(asked: Asked, verdict: Verdict) -> str:
    """Say what the matter is."""
    return _SENTENCES[verdict.code](readable_address(asked.address), verdict)


def button(asked: Asked, verdict: Verdict) -> Button:
    """Return the one thing to do about it."""
    return _BUTTONS[verdict.code](asked, verdict)


# Sentences


def _unknown(address: str, _verdict: Verdict) -> str:
    return _(
        "%(address)s does not exist: mail for it is returned to its sender. Add it as a forwarding "
        "address, or open a POP account of that name."
    ) % {"address": address}


def _leaving(address: str, verdict: Verdict) -> str:
    return _("%(address)s is about to be deleted, at about %(time)s.") % _due(address, verdict)


def _pending(address: str, verdict: Verdict) -> str:
    if str(verdict.node) == address:
        words = _("%(address)s is not on the mail server yet: it works from about %(time)s.")
    else:
        words = _(
            "%(address)s leads to %(to)s, which is not on the mail server yet: it works from about "
            "%(time)s."
        )
    return words % _due(address, verdict)


def _failing(address: str, verdict: Verdict) -> str:
    node = verdict.node
    change = node.progress.change if node else None
    cause = change.get_cause_display() if change else ""
    return _("%(to)s could not be put on the mail server yet. %(cause)s We try again.") % {
        "to": node,
        "cause": cause,
    }


def _loop(address: str, verdict: Verdict) -> str:
    return _(
        "Mail for %(address)s goes round in a circle at %(to)s, and is returned to its sender."
    ) % {"address": address, "to": verdict.node}


def _too_wide(address: str, _verdict: Verdict) -> str:
    return _("%(address)s leads to more addresses than a message can go to.") % {"address": address}


def _dead_end(address: str, verdict: Verdict) -> str:
    return _(
        "%(address)s leads to %(to)s, which does not exist: mail is returned to its sender."
    ) % {"address": address, "to": verdict.node}


def _full(address: str, verdict: Verdict) -> str:
    return _(
        "The mailbox %(to)s is full: new mail is refused until there is room. It is emptied into "
        "an archive on Wednesday, or now."
    ) % {"to": verdict.node}


def _limit(_address: str, verdict: Verdict) -> str:
    return _("A message sent at %(time)s was over a limit of sending. %(reason)s") % _told(verdict)


def _too_large(_address: str, verdict: Verdict) -> str:
    return _("A message of %(time)s was refused for its size. %(reason)s") % _told(verdict)


def _later(_address: str, verdict: Verdict) -> str:
    event = verdict.event
    if event and event.relay not in ("", "mailbox", "list"):
        words = _(
            "The receiving server %(server)s asked at %(time)s to try again later; we do, for up "
            "to 8 days. %(reason)s"
        )
    elif event and event.kind == "deferred":
        words = _("A message waits since %(time)s and is tried again. %(reason)s")
    else:
        words = _("At %(time)s the sender was asked to try again later. %(reason)s")
    return words % _told(verdict)


def _refused(_address: str, verdict: Verdict) -> str:
    event = verdict.event
    if event and event.side == Side.FROM:
        words = _("The last message from this address was refused at %(time)s. %(reason)s")
    else:
        words = _("The last message for this address was refused at %(time)s. %(reason)s")
    return words % _told(verdict)


def _partly_dead(address: str, verdict: Verdict) -> str:
    return _(
        "One of the places that %(address)s leads to does not exist: %(to)s. Mail for it is "
        "returned to its sender; the others get theirs."
    ) % {"address": address, "to": verdict.node}


def _partly_full(address: str, verdict: Verdict) -> str:
    return _(
        "One of the mailboxes that %(address)s leads to is full: %(to)s. The others get their mail."
    ) % {"address": address, "to": verdict.node}


def _some_refused(_address: str, verdict: Verdict) -> str:
    if verdict.delivered_at is None:
        words = _("The address works now. A message was refused at %(time)s. %(reason)s")
    else:
        words = _(
            "Mail arrives, last at %(delivered)s; but a message was refused at %(time)s. %(reason)s"
        )
    return words % _told(verdict)


def _some_later(address: str, verdict: Verdict) -> str:
    event, told = verdict.event, _told(verdict)
    if event is None or verdict.delivered_at is None:
        return _("A message waits since %(time)s and is tried again. %(reason)s") % told
    onward = event.other if event.side == Side.FROM else event.onward
    return _(
        "Mail arrives, last at %(delivered)s; but a message to %(to)s was put off at %(time)s and "
        "is tried again. %(reason)s"
    ) % {**told, "to": readable_address(onward) if onward else address}


def _fine(address: str, verdict: Verdict) -> str:
    return _(
        "Nothing is in the way of mail for %(address)s. The last message was delivered at %(time)s."
    ) % {"address": address, "time": _time_of(verdict.delivered_at)}


def _quiet(address: str, verdict: Verdict) -> str:
    return _(
        "Nothing is in the way of mail for %(address)s, but none has come since %(time)s. Ask the "
        "sender what the message said that came back to him."
    ) % {"address": address, "time": _time_of(verdict.known_since)}


def _unheard(address: str, verdict: Verdict) -> str:
    if verdict.known_until is None:
        words = _(
            "Nothing is known to be in the way of mail for %(address)s, but the mail server has "
            "not told of messages yet."
        )
    else:
        words = _(
            "Nothing is known to be in the way of mail for %(address)s, but the mail server has "
            "not told of messages since %(time)s."
        )
    return words % {"address": address, "time": _time_of(verdict.known_until)}


def _due(address: str, verdict: Verdict) -> dict[str, object]:
    node = verdict.node
    due_at = node.progress.due_at if node else None
    server = node.domain.server if node and node.domain else None
    time = clock(server, due_at) if server and due_at else ""
    return {"address": address, "to": node, "time": time}


def _told(verdict: Verdict) -> dict[str, str]:
    event = verdict.event
    return {
        "time": _time_of(event.at if event else None),
        "delivered": _time_of(verdict.delivered_at),
        "reason": why(event) if event else "",
        "server": event.relay if event else "",
    }


def why(event: MailEvent) -> str:
    """Say why, if need be in the words of whoever refused it."""
    known = words_of(event)
    if not event.reason:
        return known
    told = {"reason": event.reason}
    if reason_of(event) == Reason.EXPIRED:
        return _("It could not be delivered within 8 days. The reason given: “%(reason)s”") % told
    return known or _("The reason given: “%(reason)s”") % told


def _time_of(moment: object) -> str:
    return date_format(localtime(moment), "SHORT_DATETIME_FORMAT") if moment else ""  # type: ignore[arg-type]


_SENTENCES: Mapping[Code, Callable[[str, Verdict], str]] = {
    Code.UNKNOWN: _unknown,
    Code.LEAVING: _leaving,
    Code.PENDING: _pending,
    Code.FAILING: _failing,
    Code.LOOP: _loop,
    Code.TOO_WIDE: _too_wide,
    Code.DEAD_END: _dead_end,
    Code.FULL: _full,
    Code.LIMIT: _limit,
    Code.TOO_LARGE: _too_large,
    Code.LATER: _later,
    Code.REFUSED: _refused,
    Code.PARTLY_DEAD: _partly_dead,
    Code.PARTLY_FULL: _partly_full,
    Code.SOME_REFUSED: _some_refused,
    Code.SOME_LATER: _some_later,
    Code.FINE: _fine,
    Code.QUIET: _quiet,
    Code.UNHEARD: _unheard,
}


# Buttons


def _add(asked: Asked, _verdict: Verdict) -> Button:
    page = _page("email_forwarding", asked.domain)
    name = urlencode({"local_part": asked.address.partition("@")[0]})
    return Button(_("Add a forwarding address"), f"{page}?{name}#add-forward")


def _waiting(asked: Asked, verdict: Verdict) -> Button:
    domain = _domain(asked, verdict.node)
    return Button(_("See what is waiting"), _page("domain_home", domain))


def _lead_elsewhere(asked: Asked, verdict: Verdict) -> Button:
    """Lead to the list of addresses in which that one stands which leads to what is wrong."""
    leader = verdict.leader
    label, domain = _("Change where it leads"), _domain(asked, leader)
    if leader and leader.end == End.LIST:
        return Button(label, _page("mailing_lists", domain))
    local = str(leader).partition("@")[0] if leader and not leader.default else ""
    search = f"?{urlencode({'q': local})}" if local else ""
    return Button(label, f"{_page('email_forwarding', domain)}{search}")


def _make_room(asked: Asked, verdict: Verdict) -> Button:
    domain = _domain(asked, verdict.node)
    return Button(_("Make room in the mailbox"), _page("mailboxes", domain))


def _sending(asked: Asked, _verdict: Verdict) -> Button:
    return Button(_("See sending and its limits"), _page("sending", asked.domain))


def _again(asked: Asked, _verdict: Verdict) -> Button:
    return Button(_("Look again"), _about(asked, "why"))


def _map(asked: Asked, _verdict: Verdict) -> Button:
    return Button(_("See where its mail goes"), _about(asked, "address_map"))


def _after_refusal(asked: Asked, verdict: Verdict) -> Button:
    event = verdict.event
    return (_sending if event and event.side == Side.FROM else _map)(asked, verdict)


def _page(name: str, domain: Domain) -> str:
    return reverse(name, args=[domain.name])


def _about(asked: Asked, name: str) -> str:
    return f"{_page(name, asked.domain)}?{urlencode({'address': asked.address})}"


def _domain(asked: Asked, node: Node | None) -> Domain:
    return node.domain if node and node.domain else asked.domain


_BUTTONS: Mapping[Code, Callable[[Asked, Verdict], Button]] = {
    Code.UNKNOWN: _add,
    Code.LEAVING: _waiting,
    Code.PENDING: _waiting,
    Code.FAILING: _waiting,
    Code.LOOP: _lead_elsewhere,
    Code.TOO_WIDE: _lead_elsewhere,
    Code.DEAD_END: _lead_elsewhere,
    Code.FULL: _make_room,
    Code.LIMIT: _sending,
    Code.TOO_LARGE: _sending,
    Code.LATER: _again,
    Code.REFUSED: _after_refusal,
    Code.PARTLY_DEAD: _lead_elsewhere,
    Code.PARTLY_FULL: _make_room,
    Code.SOME_REFUSED: _after_refusal,
    Code.SOME_LATER: _again,
    Code.FINE: _map,
    Code.QUIET: _map,
    Code.UNHEARD: _again,
}
