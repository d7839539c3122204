"""python -m mailhost ... archive: what a system administrator does with archives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from mailhost import archive
from mailhost.archive import reading

_EXAMPLES = """\
examples:
  ... archive take myinfo            (all its mail, whether it is full or not)
  ... archive list myinfo
  ... archive show 12                (what is in archive 12)
  ... archive put-back 12 1 4-9      (messages 1 and 4 to 9, as `show` numbers them)
"""


def add(commands: Any) -> None:
    """Add the command and what it can do to the subparsers of python -m mailhost."""
    text = "move mail into archives in the domains' homes, and back"
    parser = commands.add_parser(
        "archive",
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inside = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(do: Callable[[argparse.Namespace], int], name: str, text: str) -> Any:
        added = inside.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(do=do)
        return added

    take = command(_take, "take", "move an account's mail into a new archive")
    take.add_argument("account", help="its name, such as myinfo")
    take.add_argument(
        "--oldest", action="store_true", help="the oldest alone, until half of its limit is free"
    )
    take.add_argument("--if-full", action="store_true", help="only if it is at its limit")
    command(_finish, "finish", "finish what killed runs left undone; harmless at any time")
    listing = command(_list, "list", "list archives: number, date, messages, bytes, state, file")
    listing.add_argument("account", nargs="?", help="its name [all accounts]")
    show = command(_show, "show", "list what is in an archive or, given a number, show a message")
    _add_number(show)
    show.add_argument("message", nargs="?", type=int, help="its number in the archive")
    command(_check, "check", "look which archives are still in their homes; exit code 0 if all are")
    put_back = command(
        _put_back, "put-back", "put messages back into the mailbox; keep the archive"
    )
    _add_number(put_back)
    put_back.add_argument(
        "messages", nargs="*", type=_numbers, help="their numbers, such as 3 or 4-9 [all]"
    )
    remove = command(_remove, "remove", "delete an archive for good, and the mail that is in it")
    _add_number(remove)


def _add_number(command: Any) -> None:
    command.add_argument("archive", type=int, help="its number, as `archive list` says")


def _numbers(text: str) -> range:
    first, _, last = text.partition("-")
    try:
        found = range(int(first), int(last or first) + 1)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no number and no range such as 4-9: {text}") from error
    if not found or first == "0":
        raise argparse.ArgumentTypeError(f"no message has such a number: {text}")
    return found


def _take(options: argparse.Namespace) -> int:
    made = archive.take(
        options.root,
        options.account.lower(),
        oldest=options.oldest,
        require_full=options.if_full,
        progress=_progress if sys.stderr.isatty() else None,
    )
    _say(made)
    return 0


def _progress(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        end = "\n" if done == total else ""
        print(f"\r{done} of {total} messages", end=end, file=sys.stderr, flush=True)


def _finish(options: argparse.Namespace) -> int:
    found = archive.finish(options.root)
    for item in found:
        if isinstance(item, archive.ArchiveError):
            print(f"mailhost: {item}", file=sys.stderr)
        else:
            _say(item)
    return int(any(isinstance(item, archive.ArchiveError) for item in found))


def _say(made: archive.Archive) -> None:
    print(
        f"{made.account}: {made.messages} messages, {made.mail_bytes:,} bytes, are in"
        f" {made.file_name} (archive {made.id}, {made.file_bytes:,} bytes)."
    )


def _list(options: argparse.Namespace) -> int:
    account = options.account.lower() if options.account else None
    for item in archive.archives(options.root, account):
        taken = datetime.fromtimestamp(item.taken_at).astimezone()
        print(
            f"{item.id:6}  {taken:%Y-%m-%d %H:%M}  {item.messages:7}  {item.mail_bytes:13,}"
            f"  {item.state:7}  {item.domain}  {item.file_name}"
        )
    return 0


def _show(options: argparse.Namespace) -> int:
    with archive.open_file(options.root, options.archive) as file:
        if options.message is not None:
            _show_message(reading.text_of(file, options.message))
            return 0
        first = 1
        while True:
            found, more = reading.entries(file, first, reading.MOST_ENTRIES)
            for entry in found:
                date = f"{entry.date:%Y-%m-%d %H:%M}" if entry.date else "-"
                print(
                    f"{entry.number:6}  {date}  {entry.size:10,}  {entry.folder}"
                    f"  {entry.sender}  {entry.subject}"
                )
            if not more:
                return 0
            first += len(found)


def _show_message(text: reading.Text) -> None:
    print(f"Folder: {text.entry.folder}")
    for name, value in text.headers:
        print(f"{name}: {value}")
    print(f"\n{text.body}")
    for attachment in text.attachments:
        print(f"[{attachment.name or attachment.content_type}, {attachment.size:,} bytes]")
    if text.cut:
        print("[There is more than can be shown.]")


def _check(options: argparse.Namespace) -> int:
    archive.verify(options.root)
    gone = [item for item in archive.archives(options.root) if item.state == "gone"]
    for item in gone:
        print(f"archive {item.id}, {item.file_name}, is no longer in the home of {item.domain}.")
    return int(bool(gone))


def _put_back(options: argparse.Namespace) -> int:
    numbers = [number for some in options.messages for number in some]
    done = archive.put_back(options.root, options.archive, numbers or None)
    print(f"{done.put} put back, {done.already} were in the mailbox, {done.no_room} had no room.")
    return int(bool(done.no_room or done.left))


def _remove(options: argparse.Namespace) -> int:
    archive.remove(options.root, options.archive)
    print(f"Archive {options.archive} is removed.")
    return 0
