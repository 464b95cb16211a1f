# SPDX-License-Identifier: Apache-2.0
"""Processes that may crash, hang or be taken over: how they start, and what they give up.

Each measure stands alone: one that the kernel does not have is named, and the others still hold.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
import sysconfig
import threading
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from edgeguard import _isolation

F_SEAL_FUTURE_WRITE = 0x10  # Linux 5.1; in `fcntl` from Python 3.13 on
LANDLOCK_ABI = 6  # the first that also keeps signals and abstract sockets inside
LOADING_BYTES = 2**30  # on top of what is mapped, and of four times a file that is read whole
RUNNING_BYTES = 2**27  # on top of what is mapped once it has passed its self-test
LOADING_CPU_S = 120
RUNNING_CPU_S = 20  # between two answers
DEBUG = "EDGEGUARD_DEBUG"  # any value: workers write to our stderr
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
# Of our environment: what an interpreter, its libraries and a driver read. Others may be secret.
_VARIABLES = ("PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR")
_KINDS = (
    "LC_", "LD_", "PYTHON", "MALLOC_", "OMP_", "GOMP_", "KMP_", "OPENBLAS_", "MKL_", "ORT_",
    "OPENCV_", "CUDA_", "NVIDIA_", "EDGEGUARD_",
)  # fmt: skip
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

    ``files`` and folders are read; ``whole``: at once, not little by little as a video is;
    ``device``: one that is used, a camera's for instance;
    ``server``: family and port of the one that a TCP client is to reach;
    ``devices``: an accelerator's driver is to work in it, whose devices stay open and whose address
    space knows no useful limit; ``threads``: its own.
    """

    files: tuple[Path, ...]
    whole: bool = True
    device: Path | None = None
    server: tuple[int, int] | None = None
    devices: bool = False
    threads: bool = False


class Process:
    """A process that was started here; one thread may await it and another kill it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._lock = threading.Lock()  # not held while waiting
        self._handle = -1
        with contextlib.suppress(OSError):  # before Linux 5.3: then its number has to do
            self._handle = os.pidfd_open(pid)
        self._code: int | None = None

    def kill(self) -> None:
        """End it, if it has not ended; does not wait for it."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._code is None and self._handle >= 0:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            elif self._code is None:
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Block until it has ended; its exit code, or the negative number of a signal."""
        if self._code is None:
            code = 255  # somebody else has collected it
            with contextlib.suppress(ChildProcessError):
                code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            with self._lock:
                self._code = code
                if self._handle >= 0:
                    os.close(self._handle)
        return self._code


ROOT_THREADS = "a limit on threads, for we are root"


def surprising(missing: Iterable[str]) -> tuple[str, ...]:
    """What is worth a warning: nobody who runs this as root expects a limit that root has not."""
    return tuple(what for what in missing if what != ROOT_THREADS)


# -c puts the working directory first on the path: gone before anything is imported from it.
_BEGIN = "import sys; sys.path[:] = [p for p in sys.path if p]; import json; "


def program(module: str) -> str:
    """The source of a process that runs ``main(options)`` of a module of ours."""
    return _BEGIN + (
        "o = json.loads(sys.argv[1]); sys.path[:] = o['path']; from edgeguard import sandbox; "
        f"sandbox.begin(o); from {module} import main; sys.exit(main(o))"
    )


def command_line(module: str, *arguments: str) -> list[str]:
    """Of a process that runs ``main()`` of a module of ours, with these arguments. As a worker it
    imports nothing from the working directory: -m would, before Python 3.11."""
    source = f"sys.path[:] = json.loads(sys.argv.pop(1)); from {module} import main; main()"
    return [sys.executable, "-c", _BEGIN + source, json.dumps(import_path()), *arguments]


def start(
    source: str, options: dict[str, Any], fds: Iterable[int], environment: Mapping[str, str] = {}
) -> Process:
    """Run a ``program`` in a new process that inherits ``fds``, and ends with us.

    Its one argument is ``options`` as JSON, with our import ``path``, our pid as ``parent``, and
    ``kept`` descriptors. No other thread stands still meanwhile: `subprocess` would hold Python's
    lock until the new program has begun. Raises OSError.
    """
    kept = sorted(fds)
    options = options | {"path": import_path(), "parent": os.getpid(), "kept": kept}
    arguments = [sys.executable, "-c", source, json.dumps(options)]
    variables = {**passed(os.environ), **_ONE_THREAD, **environment}
    return Process(
        _isolation.spawn(
            [os.fsencode(argument) for argument in arguments],
            [os.fsencode(f"{name}={value}") for name, value in variables.items()],
            kept,
            quiet=not os.environ.get(DEBUG),
        )
    )


def passed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process may know which may be taken over."""
    return {k: v for k, v in environment.items() if k in _VARIABLES or k.startswith(_KINDS)}


def import_path() -> list[str]:
    """Our import path without the working directory, and this very package on it.

    The standard library stays before all installed packages.
    """
    path = [entry for entry in sys.path if entry]
    root = str(Path(__file__).parents[1])
    if root not in path:
        packages = sysconfig.get_path("purelib")
        path.insert(path.index(packages) if packages in path else len(path), root)
    return path


def ending(code: int) -> str:
    """How a process ended, by its return code: itself, or by which signal."""
    if code >= 0:
        return f"itself with exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def printable(said: object, most: int) -> str:
    """What a process says that may be taken over, at most so many characters of it: one line that
    does nothing to a log or a terminal."""
    return "".join(c if c.isprintable() else " " for c in str(said)[:most])


def violated(code: int) -> bool:
    """Whether a process with this return code was ended by seccomp: for a call by the door of
    another architecture; all other calls that are refused end in EPERM or ENOSYS."""
    return code == -signal.SIGSYS


def denied(error: BaseException, need: Need) -> bool:
    """Whether something that this confined process does not need was refused to it on the way to
    this error. What a library keeps to itself is not seen: the kernel tells nobody."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, PermissionError) and not _needed(found.filename, need):
            return True
        found = found.__cause__ or found.__context__
    return False


def _needed(name: object, need: Need) -> bool:
    """Whether it is one of its own files, which somebody else has closed to us."""
    if not isinstance(name, str):
        return False
    path = Path(name).absolute()
    return any(path == file or file in path.parents for file in need.files)


def begin(options: dict[str, Any]) -> None:
    """The first thing in the new process: keep what was given, and end with the parent."""
    keep(options["kept"])
    die_with(options["parent"])


def keep(fds: Container[int]) -> None:
    """Close all other descriptors, but for stdin, stdout and stderr."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        if fd > 2 and fd not in fds:
            with contextlib.suppress(OSError):  # the one that was used to look
                os.close(fd)


def die_with(parent: int) -> None:
    """As `end_with`, and let the parent end us in order at Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


def end_with(parent: int) -> None:
    """In the new process: be killed when the parent ends, and end now if it has already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def call_itself(name: str) -> None:
    """What `ps -o comm` and `top` show of this process: the first 15 bytes."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def ordinary(nicer: int) -> None:
    """The ordinary class, whatever the deciding process runs in, and so much behind it where it has
    none.

    Not SCHED_BATCH: on a busy machine its wake-up takes milliseconds, and answers come late.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(nicer)


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
        missing.append(ROOT_THREADS)
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
    devices += [str(need.device)] if need.device is not None else []
    uses_devices = need.devices or need.device is not None
    family, port = need.server or (0, 0)
    failed = _taken(
        ("its scheduling class", lambda: ordinary(1)),
        ("dropping capabilities", _isolation.drop_capabilities),
        ("no new privileges", _isolation.no_new_privileges),
        ("Landlock", lambda: _isolation.landlock(readable, devices, port)),
        ("seccomp", lambda: _isolation.seccomp(uses_devices, family)),
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
    """Extends the processor time of a worker that answers; one that only burns it is ended.

    Against accidents: one that was taken over extends its own.
    """

    def __init__(self) -> None:
        self._extended_s = -1.0

    def answered(self, used_s: float) -> None:
        """After an answer, with the processor time used so far."""
        if used_s - self._extended_s > 1.0:
            self._extended_s = used_s
            _, hard = resource.getrlimit(resource.RLIMIT_CPU)
            with contextlib.suppress(OSError, ValueError):  # the hard limit of whoever started us
                resource.setrlimit(resource.RLIMIT_CPU, (int(used_s) + RUNNING_CPU_S, hard))


def _limit(need: Need) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, max(map(int, os.listdir("/proc/self/fd"))) + _SPARE_FILES)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or hard > LOADING_CPU_S:
        resource.setrlimit(resource.RLIMIT_CPU, (LOADING_CPU_S, hard))
    if not (need.devices or need.threads):
        _lower(resource.RLIMIT_NPROC, 0)
    if not need.devices:
        files = sum(path.stat().st_size for path in need.files if need.whole and path.is_file())
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
