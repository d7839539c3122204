"""python -m mailhost: what a system administrator does with one mail server."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailhost import instance
from mailhost.archive import commands as archiving
from mailhost.config import HostConfig, load_config
from mailhost.errors import HostError
from mailhost.host import Host
from mailhost.instance import InstanceError
from mailhost.paths import Paths, suitable_root
from mailhost.policy import figures, report
from mailhost.policy.grants import network_of
from mailhost.policy.texts import size
from mailhost.render import render
from mailhost.usage import figures as usage_figures
from mailhost.usage.waiting import waiting
from mailhost.webmail.sites import Sites

_ABOUT = """\
One private mail server (Postfix, Dovecot and what they ask) below one directory, its root.
Nothing outside the root is written, and no system service is touched.
"""
_EXAMPLES = f"""\
first steps:
  python -m mailhost --root /srv/mail1 init --hostname mail1.example.com
  python -m mailhost --root /srv/mail1 run policy       (and so on, each in a terminal of its
      own: {", ".join(instance.SERVERS[1:])})
  python -m mailhost --root /srv/mail1 status
"""


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    options = _parser().parse_args(arguments)
    do: Callable[[argparse.Namespace], int] = options.do
    try:
        return do(options)
    except HostError as error:
        print(f"mailhost: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mailhost",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, help="the server's directory")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(do: Callable[[argparse.Namespace], int], name: str, text: str) -> Any:
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        command.set_defaults(do=do)
        return command

    init = add(_init, "init", "make the server, or change settings given as options")
    init.epilog = "In [brackets]: what a new server has. Restart all servers after a change."
    for setting in fields(HostConfig):
        kind = {"int": int, "bool": _yes_or_no}.get(str(setting.type), str)
        init.add_argument(
            f"--{setting.name.replace('_', '-')}",
            type=kind,
            metavar=setting.metadata["form"],
            help=_help_on(setting),
        )
    add(_render, "render", "write the configuration of Postfix and Dovecot anew")
    run = add(_run, "run", "run one of the servers in the foreground; Ctrl-C or SIGTERM ends it")
    run.add_argument("server", choices=instance.SERVERS, help="which of them, best in this order")
    stop = add(_stop, "stop", "end a server that is still running")
    # Not by `choices`: argparse would look for "none named" among them.
    names = ", ".join(instance.SERVERS)
    stop.add_argument("server", type=_server, nargs="*", help=f"which of {names} [all]")
    add(_status, "status", "say whether all answer; exit code 0 if they do")
    check = add(_check, "check", "compare records, maps and directories; exit code 0 if all agree")
    check.add_argument("--repair", action="store_true", help="and mend what differs")
    lookup = add(_lookup, "lookup", "say where mail for an address goes in the end")
    lookup.add_argument("address", help="such as info@example.com")
    add(_flush, "flush", "finish what a killed worker left undone")
    add(_trash, "trash", "list deleted mailboxes whose mail is still there")
    purge = add(_purge, "purge", "remove deleted mailboxes for good")
    purge.add_argument("mailbox_id", nargs="+", help="as `trash` lists it, in the first column")
    sending = add(_sending, "sending", "say what an account may send, has sent, and was refused")
    sending.add_argument("account", help="its name or address, such as myinfo")
    add(_guessing, "guessing", "list IP addresses whose logins are refused for wrong passwords")
    lift = add(_lift, "lift", "forget wrong passwords, so that logins are looked at again")
    lift.add_argument("whose", metavar="ACCOUNT|IP", help="for an account, or from an IP address")
    usage = add(_usage, "usage", "say how full a mailbox is, or which mailboxes are full")
    usage.add_argument("account", nargs="?", default="", help="its name, such as myinfo [the full]")
    recount = add(_recount, "recount", "have Dovecot count mailboxes at once")
    recount.add_argument("account", nargs="*", help="their names [all]")
    add(_waiting, "waiting", "list copies of mail that wait for full mailboxes")
    archiving.add(commands)
    add(_webmail, "webmail", "list the domains that have webmail, and what removed ones left")
    add(_certificates, "certificates", "bring the domains' certificates into service")
    return parser


def _help_on(setting: Field[Any]) -> str:
    """Say what a setting does, and what a new server has where it is not given."""
    text: str = setting.metadata["help"]
    if setting.default is MISSING:
        text += " (a new server needs it)"
    elif setting.default != "":
        given = setting.default
        text += f" [{('no', 'yes')[given] if isinstance(given, bool) else given}]"
    return text.replace("%", "%%")


def _server(text: str) -> str:
    if text not in instance.SERVERS:
        raise argparse.ArgumentTypeError(f"one of {', '.join(instance.SERVERS)}")
    return text


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError("yes or no")
    return text == "yes"


def _init(options: argparse.Namespace) -> int:
    given = {
        field.name: getattr(options, field.name)
        for field in fields(HostConfig)
        if getattr(options, field.name) is not None
    }
    root: Path = options.root
    if (root / "host.json").exists():
        config = replace(load_config(root), **given)
    elif "hostname" in given:
        config = HostConfig(**given)
    else:
        raise InstanceError("A new server needs --hostname.")
    instance.init(root, config)
    print(f"{config.hostname} is ready in {root}.")
    if config.policy_port >= 1024:
        print(
            f"Any local user could listen on port {config.policy_port} while the policy daemon is"
            " down. If others log in to this machine: --policy-port 924."
        )
    for port in instance.ports_of_others(root, config):
        print(
            f"Something else listens on port {port}. If that is another server's Postfix, the two"
            " would share what comes: give each a port of its own."
        )
    return 0


def _render(options: argparse.Namespace) -> int:
    for path in render(options.root.absolute(), load_config(options.root)):
        print(path)
    return 0


def _run(options: argparse.Namespace) -> int:
    return instance.run(options.root, options.server)


def _stop(options: argparse.Namespace) -> int:
    for server in options.server or instance.SERVERS:
        was_running = instance.stop(options.root, server)
        print(f"{server} {'has ended' if was_running else 'was not running'}.")
    return 0


def _status(options: argparse.Namespace) -> int:
    code = 0
    for server in instance.SERVERS:
        problem = instance.problem_of(options.root, server)
        print(f"{server} {problem or 'answers'}.")
        code = code or int(bool(problem))
    return code


def _check(options: argparse.Namespace) -> int:
    if problem := suitable_root(options.root) or instance.missing_programs():
        raise InstanceError(problem)
    with Host(options.root) as host, host.lock():
        found = host.repair() if options.repair else host.differences()
        left = host.differences() if options.repair else found
    for difference in found:
        print(difference)
    print(f"{len(found)} differences{', mended' if found and options.repair else ''}.")
    return int(bool(left))


def _lookup(options: argparse.Namespace) -> int:
    with Host(options.root) as host:
        ends = host.lookup(options.address.lower())
    print("\n".join(ends) if ends else "refused: nobody here")
    return int(not ends)


def _flush(options: argparse.Namespace) -> int:
    with Host(options.root) as host, host.lock():
        host.apply([])
    return 0


def _trash(options: argparse.Namespace) -> int:
    with Host(options.root) as host:
        for item in host.trash():
            print(f"{item.mailbox_id}  {item.deleted_at:%Y-%m-%d %H:%M}  {item.address or '-'}")
    return 0


def _purge(options: argparse.Namespace) -> int:
    with Host(options.root) as host, host.lock():
        host.purge(options.mailbox_id)
    return 0


def _sending(options: argparse.Namespace) -> int:
    for line in report.lines(options.root, options.account.lower(), time.time()):
        print(line)
    return 0


def _guessing(options: argparse.Namespace) -> int:
    for line in report.guessing(options.root, time.time()):
        print(line)
    return 0


def _lift(options: argparse.Namespace) -> int:
    whose = "address" if network_of(options.whose) else "account"
    done = figures.lift(options.root, **{whose: options.whose.lower()}, wait=5.0)
    print(f"{options.whose}: {'forgotten' if done else 'as soon as the policy daemon runs'}.")
    return int(not done)


def _usage(options: argparse.Namespace) -> int:
    if options.account:
        found = usage_figures.of_account(options.root, options.account.lower())
        if found is None:
            raise HostError(
                f"no figure of {options.account!a}: no such account, or not counted yet"
            )
        known = [found]
    else:
        known = usage_figures.full(options.root)
    for one in known:
        print(
            f"{one.account}@{one.domain}: {size(one.used)} of {size(one.limit)} in"
            f" {one.messages} messages{', full' if one.full else ''}"
        )
    return 0


def _recount(options: argparse.Namespace) -> int:
    names = [name.lower() for name in options.account] or None
    print(f"{usage_figures.recount(options.root, names)} counted.")
    return 0


def _waiting(options: argparse.Namespace) -> int:
    for copy in waiting(options.root):
        since = datetime.fromtimestamp(copy.arrived, UTC).astimezone()
        print(
            f"{copy.queue_id}  {since:%Y-%m-%d %H:%M}  {copy.account}@{copy.domain}"
            f"  from <{copy.sender}>, {size(copy.size)}"
        )
    return 0


def _webmail(options: argparse.Namespace) -> int:
    sites = Sites(Paths(options.root.absolute()), load_config(options.root))
    for domain in sites.domains():
        print(domain)
    for kept in sites.kept():
        print(f"{kept.domain}  (removed {kept.removed_at:%Y-%m-%d %H:%M} UTC, settings kept)")
    return 0


def _certificates(options: argparse.Namespace) -> int:
    with Host(options.root) as host, host.lock():
        states = host.install_certificates()
    for domain, state in states.items():
        until = f"serves until {state.not_after:%Y-%m-%d}" if state.not_after else ""
        print(f"{domain}: {'; but '.join(filter(None, (until, state.problem)))}")
    return int(any(state.problem for state in states.values()))


if __name__ == "__main__":
    sys.exit(main())
