"""The sandbox itself: a program in Alpine's place, which tries to get at what is not its own.

The program is Debian's perl-base, which is on every machine and can ask the kernel for anything.
"""

from __future__ import annotations

import os
import platform
import re
import select
import socket
import stat
from contextlib import closing, suppress
from pathlib import Path

import pytest

from mailhost import instance
from mailhost.ssh import alpine, sandbox
from mailhost.ssh.sandbox import HOME_BYTES, IMAP_PORT, Inside, Sandbox
from mailhost.ssh.starting import start

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(instance.missing_for("ssh")), reason="no sandbox here"),
    pytest.mark.skipif(not Path("/usr/bin/perl").exists(), reason="no perl"),
]

UID = 5003
_PATIENCE = 60.0
# A line "NAME: ANSWER" for each question; $! is errno's words; with -e perl itself
# holds /dev/null open.
_SCRIPT = r"""
my $port = %(port)d; $| = 1;
sub say { print "$_[0]: $_[1]\n" }
sub names { opendir(my $d, $_[0]) or return "no ($!)"; join " ", sort grep !/^\.\.?$/, readdir $d }
sub opens { open(my $f, "<", $_[0]) ? "opened" : "no ($!)" }
say "who", "$< $> $( $)";
say "root", names "/"; say "etc", names "/etc"; say "bin", names "/usr/bin";
say "home", names "/home"; say "none", names "/none"; say "dev", names "/dev";
open my $p, "<", "/etc/passwd"; say "passwd", join "|", map { chomp; $_ } <$p>; close $p;
say "file $_", opens $_ for %(files)s;
say "environment", join " ", sort keys %%ENV;
say "fork", defined(fork) ? "forked" : "no ($!)";
say "exec", (exec { "/bin/sh" } "sh", "-c", "echo out") ? "ran" : "no ($!)";
say "open descriptors", join " ", grep {
  my $f; open($f, "<&=", $_) && (stat $f)[6] != (stat "/dev/null")[6] } 3 .. 63;
sub links { my ($family, $type, $where) = @_;
  socket(my $s, $family, $type, 0) or return "no socket ($!)";
  return "socket" unless $where; connect($s, $where) ? "connected" : "no ($!)" }
sub inet { pack "S n C4 x8", 2, $_[1], split /\./, $_[0] }
say "own port", links 2, 1, inet "127.0.0.1", %(imap)d;
say "host's port", links 2, 1, inet "127.0.0.1", $port;
say "elsewhere", links 2, 1, inet "192.0.2.1", 25;
say "unix", links 1, 1; say "ipv6", links 10, 1; say "netlink", links 16, 3;
say "raw", links 2, 3; say "packet", links 17, 3;
my $key = "x"; say "type for others", ioctl(STDIN, 0x5412, $key) ? "typed" : "no ($!)";
my $pid = kill 0, 1; say "init", $pid ? "reached" : "no ($!)";
say "others", join " ", grep { $_ != $$ && kill 0, $_ } 2 .. 99999;
$! = 0; $> = 0; say "root again", $> == 0 ? "root" : "no";
open my $w, ">", "/x" and say "writes /", "yes" or say "writes /", "no ($!)";
open $w, ">", "/etc/passwd" and say "writes passwd", "yes" or say "writes passwd", "no ($!)";
open $w, ">", "/home/own" and say "writes home", "yes" or say "writes home", "no ($!)";
$SIG{XFSZ} = "IGNORE"; my $sum = 0;
for my $n (1 .. 4) { open my $f, ">", "/home/big$n";
  for (1 .. 20) { my $l = syswrite $f, "x" x 1048576; last unless $l; $sum += $l } }
say "most written", $sum;
%(calls)s
my $most = "\0" x 16; syscall 97, 6, $most; say "most threads", unpack "Q", $most;
say "end", "reached"; my $big = length($port) * 2 ** 29; my $m = "x" x $big; say "memory", "got";
"""
# Numbers of x86_64: what the filter refuses whatever else would allow it.
_CALLS = {
    "unshare": 272, "mount": 165, "ptrace": 101, "setns": 308, "chroot": 161, "bpf": 321,
    "io_uring_setup": 425, "userfaultfd": 323, "keyctl": 250, "clone3": 435, "vfork": 58,
    "memfd_create": 319, "personality": 135,
}  # fmt: skip


def ran(script: str) -> str:
    """Return what a program says that runs in the place of Alpine."""
    boxes = Sandbox(("/usr/bin/perl", "-e", script))
    texts = alpine.files("alice", "example.com", UID)
    leader, terminal = os.openpty()
    process, ports = start(boxes, Inside(UID, "mail1.test", "xterm", texts), terminal)
    os.close(terminal)
    said = b""
    with suppress(OSError):
        while select.select([leader], [], [], _PATIENCE)[0]:
            said += os.read(leader, 65536)
    os.close(leader)
    for port in ports:
        port.close()
    os.waitpid(process, 0)
    return said.decode(errors="replace").replace("\r\n", "\n")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program found."""
    outside = tmp_path_factory.mktemp("other")
    secret = outside / "secret"
    secret.write_text("of another mailbox")
    for path in (outside, secret):
        path.chmod(0o777)
    files = ("/proc/1/environ", "/proc/self/status", "/etc/shadow", "/tmp", "/srv", "/root",
             "/usr/bin/perl", "/bin/sh", "/usr/bin/python3", "/dev/mem", "/sys",
             str(secret))  # fmt: skip
    calls = ""
    if platform.machine() == "x86_64":
        calls = "".join(
            f'$! = 0; syscall({number}, 0, 0, 0, 0, 0, 0); say "call {name}", "$!";\n'
            for name, number in _CALLS.items()
        )
    with closing(socket.create_server(("127.0.0.1", 0))) as host:
        script = _SCRIPT % {
            "port": host.getsockname()[1],
            "imap": IMAP_PORT,
            "files": "(" + ", ".join(f"'{file}'" for file in files) + ")",
            "calls": calls,
        }
        text = ran(script)
    found = dict(re.findall(r"^([^:\n]+): (.*)$", text, re.MULTILINE))
    assert "end" in found, text
    return found


def test_root_has_next_to_nothing(answers: dict[str, str]) -> None:
    assert set(answers["root"].split()) <= {"dev", "etc", "home", "lib", "lib64", "none", "usr"}
    assert set(answers["bin"].split()) == {"perl", "setpriv"}
    assert answers["dev"] == "null"
    assert answers["none"] == ""
    assert set(answers["etc"].split()) == {
        "group", "hosts", "passwd", "pine.conf.fixed", "pinerc.fixed",
    }  # fmt: skip
    assert answers["passwd"] == f"alice:x:{UID}:{UID}::/home:/none"


def test_nothing_of_the_machine_is_seen(answers: dict[str, str]) -> None:
    opened = {
        name for name, said in answers.items() if name.startswith("file") and "opened" in said
    }
    # Itself.
    assert opened == {"file /usr/bin/perl"}
    assert answers["open descriptors"] == ""
    assert answers["environment"] == "HOME LANG LC_ALL PWD TERM TERMINFO TMPDIR"
    assert answers["others"] == ""


def test_it_is_nobody_and_stays_so(answers: dict[str, str]) -> None:
    assert set(answers["who"].split()) == {str(UID)}
    assert answers["root again"] == "no"
    assert answers["init"] == "no (Operation not permitted)"


def test_no_program_is_started(answers: dict[str, str]) -> None:
    assert answers["fork"] == "no (Operation not permitted)"
    assert answers["exec"] == "no (No such file or directory)"


def test_network_is_its_own(answers: dict[str, str]) -> None:
    assert answers["own port"] == "connected"
    assert answers["host's port"] == "no (Connection refused)"
    assert answers["elsewhere"] == "no (Network is unreachable)"
    for family in ("unix", "ipv6", "netlink", "raw", "packet"):
        assert answers[family] == "no socket (Operation not permitted)", family
    assert answers["type for others"] == "no (Operation not permitted)"


def test_it_writes_into_its_own_memory_alone(answers: dict[str, str]) -> None:
    assert answers["writes /"] in ("no (Read-only file system)", "no (Permission denied)")
    assert "no (" in answers["writes passwd"]
    assert answers["writes home"] == "yes"
    assert int(answers["most written"]) <= HOME_BYTES
    assert "memory" not in answers


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64")
def test_kernel_refuses_what_no_mail_program_asks(answers: dict[str, str]) -> None:
    for name in _CALLS:
        wanted = "Function not implemented" if name == "clone3" else "Operation not permitted"
        assert answers[f"call {name}"] == wanted, name


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64")
def test_threads_are_bounded(answers: dict[str, str]) -> None:
    assert int(answers["most threads"]) == 4096


def test_nothing_with_a_set_user_id_is_bound() -> None:
    words, files = Sandbox().arguments(Inside(UID, "x.test", "xterm", {}))
    for descriptor in files:
        os.close(descriptor)
    bound = [words[n + 1] for n, word in enumerate(words) if word == "--ro-bind"]
    assert bound
    for path in bound:
        for file in (Path(path), *Path(path).rglob("*")):
            assert not file.stat().st_mode & (stat.S_ISUID | stat.S_ISGID), file


def test_terminal_is_one_that_is_known() -> None:
    assert sandbox.known_term("linux") == "linux"
    for name in ("", "no-such", "../../etc/passwd", "x" * 100, "x\n", "vt100/../../x"):
        assert sandbox.known_term(name) == "xterm"
