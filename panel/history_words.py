"""What an entry of the history says, in the reader's language, from its kind and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.models import Account, Plan
from accounts.names import readable_address
from accounts.viewers import Right
from history.models import Entry
from quota.words import bytes_of, number

# What was done, by area and what; where the values say more, _MORE has it.
_DONE: dict[str, Any] = {
    "mailbox.add": gettext_lazy("Account added"),
    "mailbox.change": gettext_lazy("Account changed"),
    "mailbox.remove": gettext_lazy("Account deleted"),
    "mailbox.login": gettext_lazy("Mailbox user logged in"),
    "mailbox.undo": gettext_lazy("Change of the account taken back"),
    "address.add": gettext_lazy("Forwarding added"),
    "address.change": gettext_lazy("Forwarding changed"),
    "address.remove": gettext_lazy("Forwarding deleted"),
    "address.undo": gettext_lazy("Change of the forwarding taken back"),
    "list.add": gettext_lazy("Mailing list added"),
    "list.change": gettext_lazy("Mailing list changed"),
    "list.remove": gettext_lazy("Mailing list deleted"),
    "list.undo": gettext_lazy("Change of the mailing list taken back"),
    "webmail.add": gettext_lazy("Webmail installed"),
    "webmail.remove": gettext_lazy("Webmail removed"),
    "webmail.undo": gettext_lazy("Change of webmail taken back"),
    "domain.add": gettext_lazy("Domain opened"),
    "domain.change": gettext_lazy("Domain changed"),
    "domain.undo": gettext_lazy("Change of the domain taken back"),
    "domain.limit": gettext_lazy("Number of POP accounts changed"),
    "archive.take": gettext_lazy("Archiving asked for"),
    "archive.put_back": gettext_lazy("Putting mail back asked for"),
    "archive.delete": gettext_lazy("Deletion of an archive asked for"),
    "reply.add": gettext_lazy("Auto-reply switched on"),
    "reply.change": gettext_lazy("Auto-reply changed"),
    "reply.remove": gettext_lazy("Auto-reply switched off"),
    "reply.draft": gettext_lazy("Text of the auto-reply changed, which is off"),
    "reply.undo": gettext_lazy("Change of the auto-reply taken back"),
    "rights.domain": gettext_lazy("What users of mailboxes may do was changed"),
    "rights.mailbox": gettext_lazy("What the mailbox's user may do was changed"),
    "order.ask": gettext_lazy("Option ordered"),
    "order.grant": gettext_lazy("Order granted"),
    "order.refuse": gettext_lazy("Order refused"),
    "order.undo": gettext_lazy("Order taken back"),
    "csv.import": gettext_lazy("CSV file imported"),
    "csv.passwords": gettext_lazy("Generated passwords downloaded"),
    "login.in": gettext_lazy("Logged in"),
    "login.refused": gettext_lazy("Login refused: wrong password"),
    "login.password": gettext_lazy("Password changed"),
}
_FILES = {
    "accounts": gettext_lazy("POP accounts"),
    "forwards": gettext_lazy("Forwarding addresses"),
}
_SIZES = {
    "quota_bytes": gettext_lazy("mailbox size"),
    "message_bytes": gettext_lazy("message size"),
    "list_message_bytes": gettext_lazy("message size to lists"),
}
_COUNTS = {
    "recipients_per_message": gettext_lazy("addresses per message"),
    "recipients_per_day": gettext_lazy("addresses per day"),
}


def words(entry: Entry) -> str:
    """Return one line of text; what nobody has words for is named by its kind."""
    kind = f"{entry.area}.{entry.what}"
    done = str(_DONE.get(kind, kind))
    more = _MORE.get(entry.area)
    details = [text for text in more(entry.values) if text] if more else []
    return f"{done}: {'; '.join(details)}" if details else done


def subject(entry: Entry) -> str:
    """Return what an entry is about, as people read it; "*" for a catch-all."""
    text = f"*{entry.subject}" if entry.subject.startswith("@") else entry.subject
    return readable_address(text) if "@" in text else text


def _of_mailbox(values: dict[str, Any]) -> list[str]:
    found = [_("new password")] if values.get("secret") else []
    for field, value in values.items():
        if field in Account.SWITCHES:
            found.append(_switched(Account.SWITCHES[field], on=value[1]))
        elif field in _SIZES:
            found.append(_from_to(_SIZES[field], [bytes_of(one) if one else "" for one in value]))
        elif field in _COUNTS:
            found.append(_from_to(_COUNTS[field], [number(one) if one else "" for one in value]))
    return found


def _switched(what: str, *, on: bool) -> str:
    return (_("%(what)s on") if on else _("%(what)s off")) % {"what": what}


def _from_to(what: Any, value: list[str]) -> str:
    """Say what a limit was and is; "" stands for the plan's."""
    was, becomes = (one or _("as in the plan") for one in value)
    return _("%(what)s from %(was)s to %(becomes)s") % {
        "what": what,
        "was": was,
        "becomes": becomes,
    }


def _of_address(values: dict[str, Any]) -> list[str]:
    return _more_and_fewer(values.get("destinations", {}))


def _more_and_fewer(change: dict[str, Any]) -> list[str]:
    """Say which addresses came and went."""
    found = []
    for text, key, place in (
        (_("to %(addresses)s"), "more", 0),
        (_("no longer to %(addresses)s"), "fewer", 1),
    ):
        if named := change.get(key):
            shown = ", ".join(map(readable_address, named))
            left = change["counts"][place] - len(named)
            found.append(text % {"addresses": shown} + (f" (+{number(left)})" if left else ""))
    return found


def _of_list(values: dict[str, Any]) -> list[str]:
    more, fewer = values.get("members", {}).get("counts", [0, 0])
    found = []
    if more:
        found.append(ngettext("%(count)d new member", "%(count)d new members", more))
        found[-1] %= {"count": more}
    if fewer:
        found.append(ngettext("%(count)d member removed", "%(count)d members removed", fewer))
        found[-1] %= {"count": fewer}
    if values.keys() - {"members", "secret"}:
        found.append(_("settings"))
    return found


def _of_domain(values: dict[str, Any]) -> list[str]:
    if "accounts" in values:
        was, becomes = map(number, values["accounts"])
        return [_from_to(_("at most"), [was, becomes])]
    if "plan" not in values:
        return []
    plan = Plan.objects.filter(code=values["plan"][1]).first()
    return [_("plan “%(plan)s”") % {"plan": plan or values["plan"][1]}]


def _of_file(values: dict[str, Any]) -> list[str]:
    rows = int(values.get("rows", 0))
    count = ngettext("%(count)s row", "%(count)s rows", rows) % {"count": number(rows)}
    return [f"{_FILES[values['kind']]}, {count}" if "kind" in values else count]


def _of_order(values: dict[str, Any]) -> list[str]:
    more = int(values["more"])
    if values["kind"] == "account":
        words = ngettext("%(count)d more POP account", "%(count)d more POP accounts", more)
        return [words % {"count": more}]
    size = {"size": bytes_of(more)}
    if values["kind"] == "mailbox":
        return [_("A mailbox larger by %(size)s") % size]
    return [_("Messages larger by %(size)s") % size]


def _of_rights(values: dict[str, Any]) -> list[str]:
    found = [_("as for the whole domain")] if values.get("usual") else []
    for text, key in ((_("allowed: %(rights)s"), "more"), (_("forbidden: %(rights)s"), "fewer")):
        if names := values.get(key):
            found.append(text % {"rights": ", ".join(map(_right, names))})
    return found


def _right(name: str) -> str:
    """Return what a right is called; one that there is no longer by its name."""
    return str(Right(name).label) if name in Right.values else name


_MORE: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "mailbox": _of_mailbox,
    "address": _of_address,
    "list": _of_list,
    "domain": _of_domain,
    "csv": _of_file,
    "order": _of_order,
    "rights": _of_rights,
}
