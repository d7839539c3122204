"""The sandbox of one Alpine: bubblewrap's namespaces around a root with next to nothing in it.

bubblewrap is started by root and needs no user namespace, which many machines forbid; inside,
setpriv(1) gives up root, all capabilities and the way back to them, before Alpine begins. What
is left to Alpine: its own program and libraries, an empty home in memory, and a network of two
ports of its own loopback, behind which the door answers.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSCTTY

from mailhost import programs
from mailhost.errors import HostError
from mailhost.ssh import seccomp

#: Where the door answers in a sandbox: IMAP, logged in already, and SMTP likewise.
IMAP_PORT, SMTP_PORT = 143, 587
#: Where Alpine may write, in memory; and how many bytes.
HOME, HOME_BYTES = "/home", 32 * 1024 * 1024
#: An empty directory that nobody can write: all that Alpine calls files lies there.
NO_FILES = "/none"
#: Seconds of a processor for a whole session.
CPU_SECONDS = 1800
#: Terminals known in a sandbox, as Debian's ncurses-base has them.
TERMINFO = Path("/usr/lib/terminfo")
# What time it is here; without it sessions have UTC.
_ZONES = Path("/usr/share/zoneinfo")
_LOCALE = Path("/usr/lib/locale/C.utf8")
_TERM = re.compile(r"\A[a-z][a-z0-9.+-]{0,30}\Z")
_LIMITS = {
    resource.RLIMIT_AS: 512 * 1024 * 1024,
    resource.RLIMIT_CPU: CPU_SECONDS,
    resource.RLIMIT_FSIZE: HOME_BYTES,
    resource.RLIMIT_NOFILE: 64,
    # Threads, of all sessions together: their stacks in the kernel count nowhere else.
    resource.RLIMIT_NPROC: 4096,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_MEMLOCK: 64 * 1024,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 64,
}
_PROGRAMS = ("bwrap", "setpriv", "alpine")
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
# The memory of a session goes first when there is too little (proc(5)).
_OOM_SCORE = "500"
# Delivering mail and logins come first.
_NICE = 5
# A line of `ldd`: "libc.so.6 => /lib/... (0x...)" or "/lib64/ld-linux... (0x...)".
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_SEARCHED = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"


class SandboxError(HostError):
    """No sandbox can be made here; the message says why."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What one sandbox holds: whose and which terminal it is, the time, and files by path."""

    uid: int
    hostname: str
    term: str
    files: Mapping[str, str]
    time_zone: str = ""


def missing() -> str:
    """Say in one sentence what has to be installed, or return ""."""
    lacking = [name for name in _PROGRAMS if not _found(name)]
    if lacking:
        return f"Not installed: {', '.join(lacking)} (Debian: bubblewrap, util-linux, alpine)."
    if not TERMINFO.is_dir() or not _LOCALE.is_dir():
        return "Not installed: terminals or the locale C.UTF-8 (Debian: ncurses-base, libc-bin)."
    try:
        seccomp.program()
    except seccomp.SeccompError as error:
        return str(error)
    return ""


def known_term(name: str) -> str:
    """Return the terminal that a session has: `name` if it is known here, else the usual one."""
    if _TERM.match(name) and (TERMINFO / name[0] / name).exists():
        return name
    return "xterm"


def _found(program: str) -> str:
    return shutil.which(program, path=_SEARCHED) or ""


class Sandbox:
    """Starts programs in sandboxes; looks up once what they need."""

    def __init__(self, program: Sequence[str] = ("alpine",)) -> None:
        """Take the command; SandboxError if it, or what it stands on, is not there."""
        if problem := missing():
            raise SandboxError(problem)
        self._command = [_found(program[0]) or program[0], *program[1:]]
        needed = [_found("setpriv"), self._command[0]]
        needed_data = {str(path): str(path) for path in (TERMINFO, _LOCALE)}
        self._bound = {path: path for path in needed} | _libraries(needed) | needed_data
        self._seccomp = seccomp.program()

    def arguments(self, inside: Inside) -> tuple[list[str], list[int]]:
        """Return bwrap's command line, and the descriptors that it names (to be closed)."""
        open_files: list[int] = []

        def in_memory(content: bytes) -> str:
            descriptor = os.memfd_create("file")
            open_files.append(descriptor)
            os.write(descriptor, content)
            os.lseek(descriptor, 0, os.SEEK_SET)
            return str(descriptor)

        words = [
            _found("bwrap"), "--die-with-parent", "--unshare-ipc", "--unshare-pid", "--unshare-uts",
            "--unshare-cgroup-try", "--hostname", inside.hostname,
            "--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID",
            "--cap-add", "CAP_SETPCAP", "--seccomp", in_memory(self._seccomp),
        ]  # fmt: skip
        for directory in _parents([*self._bound, *inside.files]):
            words += ["--perms", "0755", "--dir", directory]
        for target, source in self._bound.items():
            words += ["--ro-bind", source, target]
        zone = _ZONES / inside.time_zone
        if inside.time_zone and zone.is_file():
            words += ["--ro-bind", str(zone.resolve()), "/etc/localtime"]
        words += ["--perms", "0755", "--dir", "/dev", "--dev-bind", "/dev/null", "/dev/null"]
        words += ["--perms", "0555", "--dir", NO_FILES]
        # Of the session's own user alone: setpriv comes before anything is written there.
        words += ["--perms", "0777", "--size", str(HOME_BYTES), "--tmpfs", HOME]
        for path, text in inside.files.items():
            option = "--file" if path.startswith(f"{HOME}/") else "--ro-bind-data"
            words += ["--perms", "0666" if option == "--file" else "0444"]
            words += [option, in_memory(text.encode()), path]
        words += ["--remount-ro", "/", "--chdir", HOME, "--clearenv"]
        for name, value in _environment(inside).items():
            words += ["--setenv", name, value]
        words += [
            "--", _found("setpriv"), "--reuid", str(inside.uid), "--regid", str(inside.uid),
            "--clear-groups", "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all",
            "--bounding-set=-all", "--", *self._command,
        ]  # fmt: skip
        return words, open_files


def _parents(paths: Sequence[str]) -> list[str]:
    """Return the directories above these, the highest first; bwrap would close them to others."""
    found = {str(parent) for path in paths for parent in Path(path).parents}
    return sorted(found - {"/", HOME})


def _environment(inside: Inside) -> dict[str, str]:
    return {
        "HOME": HOME,
        "TMPDIR": HOME,
        "TERM": inside.term,
        "TERMINFO": str(TERMINFO),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
    }


def _libraries(files: Sequence[str]) -> dict[str, str]:
    """Return what the dynamic linker loads for these programs: the path it uses, the file."""
    found: dict[str, str] = {}
    for file in files:
        answer = programs.run(["ldd", file])
        if answer.code:
            raise SandboxError(f"ldd cannot tell what {file} needs: {answer.err}")
        for path in _LIBRARY.findall(answer.out):
            found[path] = str(Path(path).resolve())
    # glibc loads it when a thread is ended, and says so nowhere.
    beside = [Path(path).with_name("libgcc_s.so.1") for path in found if "/libc.so." in path]
    return found | {str(path): str(path.resolve()) for path in beside if path.exists()}


# In the child, before bwrap


def begin(terminal: int, listening: socket.socket) -> None:
    """Make this process the leader of a session at `terminal`, with a network of its own.

    Two sockets that listen in that network go out by `listening`. For a new child of the keeper:
    it calls `become` next. OSError if the kernel refuses.
    """
    os.setsid()
    ioctl(terminal, TIOCSCTTY, 0)
    for descriptor in (0, 1, 2):
        os.dup2(terminal, descriptor)
    _unshare(_CLONE_NEWNET)
    _raise_loopback()
    ports = [_listen(port) for port in (IMAP_PORT, SMTP_PORT)]
    socket.send_fds(listening, [b"ready"], [port.fileno() for port in ports])
    for port in ports:
        port.close()


def become(words: Sequence[str], kept: Sequence[int]) -> None:
    """Become bwrap, with the limits of a session; of the open files only `kept` are left to it."""
    os.nice(_NICE)
    for limit, value in _LIMITS.items():
        resource.setrlimit(limit, (value, value))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    _make_root_a_mount()
    # Everything else closes by itself: Python opens files so.
    for descriptor in kept:
        os.set_inheritable(descriptor, True)
    os.execve(words[0], list(words), {"PATH": "/usr/bin:/bin"})  # noqa: S606 (no shell is wanted)


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        # struct ifreq: a name of 16 bytes, flags, and room.
        asked = struct.pack("16sh22x", b"lo", 0)
        flags = struct.unpack_from("16xh", ioctl(any_socket, _SIOCGIFFLAGS, asked))[0]
        ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def _listen(port: int) -> socket.socket:
    # No name is resolved, and no other family is there.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", port))
    listening.listen(16)
    return listening


def _make_root_a_mount() -> None:
    """Let bwrap work in a chroot(2), whose root it cannot leave unless something is mounted there.

    The root is mounted once more, over /proc, which is a mount itself: so what is mounted from
    now on, in a mount namespace of this process's own, is nobody else's to see.
    """
    if _is_mounted("/"):
        return
    _unshare(_CLONE_NEWNS)
    _mount("none", "/proc", _MS_PRIVATE | _MS_REC)
    _mount("/", "/proc", _MS_BIND | _MS_REC)
    _mount("none", "/proc", _MS_PRIVATE | _MS_REC)
    os.chroot("/proc")
    os.chdir("/")


def _is_mounted(path: str) -> bool:
    """Say whether something is mounted at `path`, as this process sees it (proc(5), mountinfo)."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split(" ")[4] == path for line in lines)


def _mount(source: str, target: str, flags: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(source.encode(), target.encode(), None, ctypes.c_ulong(flags), None):
        code = ctypes.get_errno()
        raise OSError(code, f"{target} cannot be mounted: {os.strerror(code)}")
