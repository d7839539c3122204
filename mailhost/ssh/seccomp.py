"""What Alpine may ask of the kernel: a filter for seccomp(2), made by libseccomp.

Everything is allowed that an ordinary program needs, but for this: no other process is begun (so
no editor, viewer, printer or shell, whatever the settings say), nothing is typed into the terminal
for somebody else, and no socket is opened but to the sandbox's own loopback.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from functools import cache

from mailhost.errors import HostError

_LIBRARY = "libseccomp.so.2"
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
# enum scmp_compare of seccomp.h.
_NOT_EQUAL, _MASKED = 1, 7
_CLONE_THREAD = 0x00010000
# ioctl(2): characters put into a terminal's input, and the console's menu of such things.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C

#: Refused with EPERM, whatever the arguments.
REFUSED = (
    "fork", "vfork", "execveat", "ptrace", "process_vm_readv", "process_vm_writev",
    "process_madvise", "kcmp", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "unshare",
    "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "name_to_handle_at",
    "open_by_handle_at", "fanotify_init", "bpf", "perf_event_open", "userfaultfd", "add_key",
    "request_key", "keyctl", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "swapon",
    "swapoff", "reboot", "acct", "quotactl", "quotactl_fd", "syslog", "vhangup", "sethostname",
    "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "iopl",
    "ioperm", "modify_ldt", "personality", "lookup_dcookie", "nfsservctl", "mbind",
    "set_mempolicy", "migrate_pages", "move_pages", "get_mempolicy", "mknod", "mknodat",
    "memfd_create", "memfd_secret", "shmget", "msgget", "semget", "mq_open", "socketpair",
)  # fmt: skip


class SeccompError(HostError):
    """The filter cannot be made; the message says why."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


@cache
def program() -> bytes:
    """Return the filter as bwrap takes it. Raises SeccompError."""
    try:
        library = ctypes.CDLL(_LIBRARY, use_errno=True)
    except OSError as error:
        raise SeccompError("libseccomp cannot be loaded (Debian: libseccomp2).") from error
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ALLOW)))
    if context.value is None:
        raise SeccompError("libseccomp cannot make a filter here.")
    try:
        _fill(library, context)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def _fill(library: ctypes.CDLL, context: ctypes.c_void_p) -> None:
    def refuse(name: str, *conditions: _Comparison, code: int = errno.EPERM) -> None:
        number = library.seccomp_syscall_resolve_name(name.encode())
        # Unknown to this libseccomp; those the machine's kind has not are below 0 as well.
        if number < 0:
            return
        array = (_Comparison * len(conditions))(*conditions)
        action = ctypes.c_uint32(_ERRNO | code)
        done = library.seccomp_rule_add_array(
            context, action, ctypes.c_int(number), ctypes.c_uint(len(conditions)), array
        )
        if done:
            raise SeccompError(f"libseccomp refuses a rule about {name}: {os.strerror(-done)}.")

    for name in REFUSED:
        refuse(name)
    # A thread is no process; glibc takes clone(2) where it is told that there is no clone3(2).
    refuse("clone", _Comparison(0, _MASKED, _CLONE_THREAD, 0))
    refuse("clone3", code=errno.ENOSYS)
    for request in (_TIOCSTI, _TIOCLINUX):
        # The kernel looks at the lower half alone.
        refuse("ioctl", _Comparison(1, _MASKED, 0xFFFFFFFF, request))
    refuse("socket", _Comparison(0, _NOT_EQUAL, socket.AF_INET, 0))
    refuse("socket", _Comparison(1, _MASKED, 0xF, socket.SOCK_RAW))


def _exported(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    descriptor = os.memfd_create("seccomp")
    try:
        done = library.seccomp_export_bpf(context, descriptor)
        if done:
            raise SeccompError(f"libseccomp cannot write the filter: {os.strerror(-done)}.")
        return os.pread(descriptor, 1 << 20, 0)
    finally:
        os.close(descriptor)
