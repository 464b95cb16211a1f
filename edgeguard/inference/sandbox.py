# SPDX-License-Identifier: Apache-2.0
"""What a worker gives up before it opens a model, and what this kernel cannot take from it.

Each measure stands alone: one that the kernel does not have is named, and the others still hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from edgeguard import _isolation
from edgeguard.inference.memory import F_SEAL_FUTURE_WRITE

LANDLOCK_ABI = 6  # the first that also keeps signals and abstract sockets inside
LOADING_BYTES = 2**30  # on top of what is mapped, while a model is read; and four times its file
RUNNING_BYTES = 2**27  # on top of what is mapped once it has passed its self-test
LOADING_CPU_S = 120
RUNNING_CPU_S = 20  # between two answers
_SPARE_FILES = 32
_INSTALLED = ("site-packages", "dist-packages")
# What libraries ask of the machine while they run: processors, memory, time zone, shared objects.
_MACHINE = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/localtime",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/self", "/sys/devices/system",
    "/dev/null", "/dev/zero", "/dev/urandom",
)  # fmt: skip


@attrs.frozen
class Need:
    """What a worker needs of the machine beside the interpreter.

    ``files`` are read; ``devices``: whether an accelerator's driver is to work in it, whose devices
    stay open and whose address space knows no useful limit.
    """

    files: tuple[Path, ...]
    devices: bool = False


def lacking() -> tuple[str, ...]:
    """What the kernel under us cannot give, in words; nothing is changed. For `edgeguard check`."""
    missing = []
    abi = _isolation.landlock_abi()
    if abi == 0:
        missing.append("Landlock: a worker can read what we can")
    elif abi < LANDLOCK_ABI:
        missing.append(f"all of Landlock: it has version {abi}, {LANDLOCK_ABI} is wanted")
    if not _isolation.has_seccomp():
        missing.append("seccomp: a worker can call all of the kernel")
    if not _seals_future_writes():
        missing.append("F_SEAL_FUTURE_WRITE: a worker could write to the frames of others")
    if os.geteuid() == 0:
        missing.append("a limit on threads, for we are root")
    return tuple(missing)


def confine(need: Need) -> tuple[str, ...]:
    """Give up, for good, what is not needed; before a runtime is imported, for it starts threads.

    Returns what could not be given up, as words of the kind that ``lacking`` has.
    """
    missing = list(lacking())
    if len(os.listdir("/proc/self/task")) > 1:
        missing.append("Landlock in the threads that were there before")
    readable = [str(path) for path in (*need.files, *_interpreter())]
    devices = ["/dev", "/sys"] if need.devices else ["/dev/null"]
    failed = _taken(
        ("its scheduling class", _batch),
        ("dropping capabilities", _isolation.drop_capabilities),
        ("no new privileges", _isolation.no_new_privileges),
        ("Landlock", lambda: _isolation.landlock(readable, devices)),
        ("seccomp", lambda: _isolation.seccomp(need.devices)),
    )
    return (*missing, *failed)


def limit(need: Need) -> tuple[str, ...]:
    """Limit memory, processor time, files and threads; before a model is opened.

    Returns what could not be limited.
    """
    missing = ["limits on memory and threads (an accelerator's driver needs them)"]
    return (*(missing if need.devices else ()), *_taken(("limits", lambda: _limit(need))))


def _taken(*steps: tuple[str, Callable[[], object]]) -> list[str]:
    failed = []
    for name, step in steps:
        try:
            step()
        except (OSError, ValueError) as error:
            failed.append(f"{name}: {getattr(error, 'strerror', None) or error}")
    return failed


def tighten(need: Need) -> None:
    """After the self-test: little more memory, and processor time for one answer after another."""
    if not need.devices:
        _lower(resource.RLIMIT_AS, _mapped() + RUNNING_BYTES)


class Clock:
    """Extends the processor time of a worker that answers; one that only burns it is ended."""

    def __init__(self) -> None:
        self._extended_s = -1.0

    def answered(self, used_s: float) -> None:
        """After an answer, with the processor time used so far."""
        if used_s - self._extended_s > 1.0:
            self._extended_s = used_s
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            with contextlib.suppress(OSError, ValueError):  # the hard limit of whoever started us
                resource.setrlimit(resource.RLIMIT_CPU, (int(used_s) + RUNNING_CPU_S, hard))


def _batch() -> None:
    """A class of its own, below whatever class the deciding process runs in."""
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _limit(need: Need) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, max(map(int, os.listdir("/proc/self/fd"))) + _SPARE_FILES)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or hard > LOADING_CPU_S:
        resource.setrlimit(resource.RLIMIT_CPU, (LOADING_CPU_S, hard))
    if not need.devices:
        _lower(resource.RLIMIT_NPROC, 0)
        files = sum(path.stat().st_size for path in need.files if path.is_file())
        _lower(resource.RLIMIT_AS, _mapped() + LOADING_BYTES + 4 * files)


def _lower(which: int, to: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        to = min(to, hard)
    resource.setrlimit(which, (to, to))


def _mapped() -> int:
    """Bytes of address space in use."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _interpreter() -> Iterable[Path]:
    """The standard library, installed packages, the others that are loaded, and the machine's."""
    yield from map(Path, _MACHINE)
    yield from (Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
    yield from (Path(p) for p in sys.path if p.rstrip("/").endswith(_INSTALLED))
    for name, module in list(sys.modules.items()):
        if "." not in name:
            yield from map(Path, getattr(module, "__path__", None) or ())


def _seals_future_writes() -> bool:
    fd = os.memfd_create("edgeguard-probe", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
