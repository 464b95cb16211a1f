# SPDX-License-Identifier: Apache-2.0
"""What a confined worker cannot do: each is really tried, from inside, as if the model did it."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from strange_worker import program
from tiny_models import images, tiny

from edgeguard import _isolation, sandbox
from edgeguard.inference import supervisor
from edgeguard.inference.child import ChildProcess, open_group
from edgeguard.inference.members import MemberSpec

pytestmark = pytest.mark.alone

READY_S = 30.0
needs_landlock = pytest.mark.skipif(
    _isolation.landlock_abi() < sandbox.LANDLOCK_ABI, reason="needs: Landlock 6 (Linux 6.12)"
)
needs_seccomp = pytest.mark.skipif(not _isolation.has_seccomp(), reason="needs: seccomp")

# Each is tried by its name; SECRET, MODEL, FOLDER, PARENT, WAKE, FRAMES and ANSWERS are given.
ATTEMPTS = {
    # sockets
    "inet": "socket.socket()",
    "unix": "socket.socket(socket.AF_UNIX)",
    "pair": "socket.socketpair()",
    # files
    "secret": "open(SECRET).read()",
    "passwd": "open('/etc/passwd').read()",
    "list": "os.listdir(os.path.dirname(SECRET))",
    "parent memory": "open(f'/proc/{PARENT}/mem', 'rb')",
    "parent files": "os.listdir(f'/proc/{PARENT}/fd')",
    "write model": "open(MODEL, 'r+b')",
    "new file": "open(FOLDER + '/new', 'w')",
    "unlink": "os.unlink(MODEL)",
    "rename": "os.rename(MODEL, MODEL + '.old')",
    "chmod": "os.chmod(MODEL, 0o600)",
    "truncate": "os.truncate(MODEL, 0)",
    # programs and processes
    "exec": "call('execve', b'/nowhere', None, None)",
    "spawn": "os.posix_spawn('/bin/true', ['true'], {})",
    "fork": "os.fork() or os._exit(0)",
    "ptrace": "call('ptrace', 2, PARENT, 0, 0)",
    "read parent": "read_parent()",
    "signal": "os.kill(PARENT, 0)",
    "pidfd": "os.pidfd_open(PARENT)",
    "signal by a pipe": "fcntl.fcntl(PIPE, fcntl.F_SETOWN, PARENT)",
    "signal by a pipe, new": "fcntl.fcntl(PIPE, 15, struct.pack('ii', 1, PARENT))",
    "which signal": "fcntl.fcntl(PIPE, fcntl.F_SETSIG, signal.SIGURG)",
    "begin to signal": "fcntl.ioctl(PIPE, termios.FIOASYNC, struct.pack('i', 1))",
    "signal by a socket": "fcntl.ioctl(PIPE, 0x8901, struct.pack('i', PARENT))",
    "signal by a socket, too": "fcntl.ioctl(PIPE, 0x8902, struct.pack('i', PARENT))",
    "move the parent": "os.sched_setaffinity(PARENT, os.sched_getaffinity(PARENT))",
    "semaphores": "call('semctl', 0, 0, 3, ctypes.create_string_buffer(200))",
    "wait for semaphores": "call('semtimedop', 0, ctypes.create_string_buffer(6), 1, None)",
    "messages": "call('msgctl', 0, 3, ctypes.create_string_buffer(200))",
    "survive parent": "call('prctl', 1, 0, 0, 0, 0)",
    "namespace": "call('unshare', 0x20000)",
    "io_uring": "call('syscall', 425, 1, ctypes.create_string_buffer(200))",
    # the memory that is shared
    "map frames": "mmap.mmap(FRAMES, 64, prot=mmap.PROT_WRITE)",
    "write frames": "os.pwrite(FRAMES, b'x', 0)",
    "reopen frames": "open(f'/proc/self/fd/{FRAMES}', 'r+b')",
    "shrink frames": "os.ftruncate(FRAMES, 0)",
    "shrink answers": "os.ftruncate(ANSWERS, 0)",
    "grow answers": "os.ftruncate(ANSWERS, 2**20)",
    "seal answers": "fcntl.fcntl(ANSWERS, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)",
    "block the guard": "fcntl.fcntl(WAKE, fcntl.F_SETFL, 0)",
    # its own limits
    "memory limit": "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "nice": "os.nice(-5)",
    "class": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
    "capabilities": "os.chroot('/')",
}
LANDLOCKED = ("secret", "passwd", "list", "parent memory", "parent files")
SEALED = ("map frames", "write frames", "reopen frames", "shrink frames", "shrink answers",
          "grow answers", "seal answers")  # fmt: skip
# Every one but those that are refused whoever asks, or that end somewhere else without a sandbox.
WORK_OUTSIDE = ("inet", "unix", "pair", "secret", "passwd", "list", "parent files", "new file",
                "chmod", "write model", "spawn", "fork", "read parent", "signal", "pidfd",
                "survive parent", "block the guard", "signal by a pipe", "signal by a pipe, new",
                "which signal", "begin to signal", "move the parent", "semaphores",
                "messages")  # fmt: skip

BEFORE = """
import fcntl, mmap, signal, struct, termios
PIPE, _ = os.pipe()
def call(name, *args):
    if getattr(libc, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

def read_parent():
    here, size = ctypes.create_string_buffer(8), ctypes.c_size_t(8)
    class Vec(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
    mine, theirs = Vec(ctypes.addressof(here), 8), Vec(int(AT), 8)
    call("process_vm_readv", PARENT, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)

def tried(code):
    try:
        eval(code)
    except OSError as error:
        return errno.errorcode[error.errno]
    except Exception as error:
        return type(error).__name__
    return "done"

spec = json.loads(os.pread(o["spec"], 10**6, 0))["members"][0]
PARENT, WAKE, FRAMES, ANSWERS = o["parent"], o["wake"], spec["frames"], spec["answers"]
MODEL, FOLDER = spec["model_path"], spec["directory"]
"""
RUN = """
found = {name: tried(code) for name, code in ATTEMPTS.items()}
links = map(link_of, os.listdir("/proc/self/fd"))
found["memfds"] = sorted({link.split(":")[1].split()[0] for link in links if "memfd" in link})
found["count"] = len({os.fstat(fd).st_ino for fd in range(99) if "memfd" in link_of(fd)})
found["threads"] = len(os.listdir("/proc/self/task"))
worker._say(o["mouth"], failed=json.dumps(found))
os._exit(1)
"""
LINKS = """
def link_of(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
"""


def attempts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, outside: bool = False, before: str = ""
) -> Any:
    """What came of every attempt in a worker, in one where nothing confines when ``outside``."""
    import ctypes

    (folder / "model").mkdir()
    (folder / "other").mkdir()
    (folder / "secret").write_text("secret")
    mine = ctypes.create_string_buffer(b"private")
    given = f"SECRET, AT, ATTEMPTS = {str(folder / 'secret')!r}, {ctypes.addressof(mine)}, "
    given += f"{ATTEMPTS if not outside else {k: ATTEMPTS[k] for k in WORK_OUTSIDE}!r}\n"
    if outside:
        given += "sandbox.confine = sandbox.limit = lambda need: ()\nsandbox.tighten = print\n"
    source = program(RUN, BEFORE + LINKS + given + before)
    neighbour = ChildProcess(
        MemberSpec("n", tiny(folder / "other"))
    )  # whose memory is not to be had
    neighbour.await_ready(READY_S)
    monkeypatch.setattr(supervisor, "_PROGRAM", source)
    member = ChildProcess(MemberSpec("m", tiny(folder / "model"), restarts=0))
    try:
        member.await_ready(READY_S)
        member.input[0] = images()[0]
        assert member.submit(1, 1)
        assert member.wait(READY_S) is None
        end = time.monotonic() + READY_S
        while not member.reason.startswith("{") and time.monotonic() < end:
            time.sleep(0.01)
        return json.loads(member.reason.partition("; quarantined")[0])
    finally:
        member.close()
        neighbour.close()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        return attempts(tmp_path_factory.mktemp("confined"), patch)


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("attempt", [a for a in ATTEMPTS if a not in (*LANDLOCKED, *SEALED)])
def test_a_confined_worker_cannot(found: dict[str, Any], attempt: str) -> None:
    assert found[attempt] in ("EPERM", "EACCES", "ENOSYS", "ValueError"), found[attempt]


@needs_seccomp
def test_seccomp_alone_refuses_them_where_landlock_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = attempts(tmp_path, monkeypatch, before="sandbox._isolation.landlock = print\n")
    assert came["secret"] == "done"  # Landlock is absent
    refused = ("EPERM", "EACCES", "ENOSYS", "ValueError")
    others = {k: v for k, v in came.items() if k in ATTEMPTS and k not in (*LANDLOCKED, *SEALED)}
    assert {k: v for k, v in others.items() if v not in refused} == {}


@needs_landlock
@pytest.mark.parametrize("attempt", LANDLOCKED)
def test_a_confined_worker_cannot_read_what_is_not_its_own(
    found: dict[str, Any], attempt: str
) -> None:
    assert found[attempt] == "EACCES"


@pytest.mark.parametrize("attempt", SEALED)
def test_the_shared_memory_is_sealed(found: dict[str, Any], attempt: str) -> None:
    assert found[attempt] in ("EPERM", "EACCES", "EFBIG"), found[attempt]


def test_the_memory_of_other_members_is_not_inherited(found: dict[str, Any]) -> None:
    assert found["memfds"] == ["edgeguard-answers", "edgeguard-frames"]
    assert found["count"] == 2


def test_without_the_sandbox_the_same_attempts_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the tests above would prove nothing."""
    came = attempts(tmp_path, monkeypatch, outside=True)
    assert {name: came[name] for name in WORK_OUTSIDE} == dict.fromkeys(WORK_OUTSIDE, "done")


def test_what_the_kernel_cannot_give_is_reported_and_the_rest_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = """
def refused(*_): raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
sandbox._isolation.landlock = sandbox._isolation.seccomp = refused
"""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    run = f"""
held = resource.getrlimit(resource.RLIMIT_CORE)[1] == 0
held = held and os.getpriority(os.PRIO_PROCESS, 0) > {own}
worker._say(o["mouth"], failed=f"held: {{held}}")
os._exit(1)
"""
    monkeypatch.setattr(supervisor, "_PROGRAM", program(run, before))
    member = ChildProcess(MemberSpec("m", tiny(tmp_path), restarts=0))
    member.await_ready(READY_S)
    assert "Landlock: Function not implemented" in member.missing
    assert "seccomp: Function not implemented" in member.missing
    assert until(lambda: bool(caplog.messages)), "told once it is admitted"
    (line,) = caplog.messages
    assert line.startswith("m: ")
    assert "seccomp: Function not implemented" in line
    assert member.submit(1, 1)
    member.wait(READY_S)
    assert until(lambda: member.reason.startswith("held: True"))
    member.close()


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass", "no answer"),
        ("hoard = []\nwhile True: hoard.append(bytearray(2**24))", "exit code 1"),
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("time.sleep(60)", "no answer"),
        ("sys.exit(0)", "exit code 0"),
    ],
    ids=["signals blocked", "out of memory", "segfault", "abort", "hangs", "goes"],
)
def test_f02_whatever_a_model_does_the_member_abstains_and_the_guard_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str, reason: str
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", program(run))
    free = free_memory()
    member = ChildProcess(MemberSpec("m", tiny(tmp_path), restarts=1, hang_s=2.0, backoff_s=0.01))
    for serial in (1, 2):  # the second worker is admitted after its self-test, and does the same
        assert until(lambda: member.alive)
        assert member.submit(serial, serial)
        assert member.wait(READY_S) is None
        assert until(lambda: reason in member.reason), member.reason
    assert until(lambda: "quarantined" in member.reason)
    assert not member.submit(3, 3)
    assert free_memory() > free - 2**29
    member.close()


def test_a_worker_does_not_know_the_environment_of_the_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    monkeypatch.setenv("LC_TIME", "C")
    run = """
given = open("/proc/self/environ").read()
worker._say(o["mouth"], failed=f"{'secret' in given} {'LC_TIME=C' in given} {'PATH=' in given}")
os._exit(1)
"""
    monkeypatch.setattr(supervisor, "_PROGRAM", program(run))
    member = ChildProcess(MemberSpec("m", tiny(tmp_path), restarts=0))
    member.await_ready(READY_S)
    assert member.submit(1, 1)
    assert until(lambda: member.reason.startswith("False True True")), member.reason
    member.close()


def free_memory() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1])


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + READY_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def test_a_worker_that_burns_its_processor_time_without_answering_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = "sandbox.RUNNING_CPU_S = 1\n"
    monkeypatch.setattr(supervisor, "_PROGRAM", program("while True: pass", before))
    member = ChildProcess(MemberSpec("m", tiny(tmp_path), restarts=0, hang_s=60.0))
    member.await_ready(READY_S)
    assert member.submit(1, 1)
    assert until(lambda: "SIGXCPU" in member.reason or "SIGKILL" in member.reason), member.reason
    member.close()


def test_a_group_shares_a_worker_and_its_end(tmp_path: Path) -> None:
    specs = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        specs.append(MemberSpec(name, tiny(tmp_path / name), process="eyes", backoff_s=0.01))
    members = open_group(specs)
    for member in members:
        member.await_ready(READY_S)
        member.input[0] = images()[1]
    assert len({member.pid for member in members}) == 1
    for member in members:
        assert member.submit(1, 1)
    for member in members:
        assert member.wait(READY_S) is not None, member.reason
        assert member.scores.tobytes() == members[0].scores.tobytes()
    pid = members[0].pid
    assert pid is not None
    os.kill(pid, 9)
    assert until(lambda: all(member.alive and member.pid != pid for member in members))
    for member in members:
        assert member.submit(2, 2)
        assert member.wait(READY_S) is not None, member.reason
    members[1].close()
    assert not any(member.alive for member in members)


def test_the_limits_of_a_worker_are_set(tmp_path: Path) -> None:
    member = ChildProcess(MemberSpec("m", tiny(tmp_path)))
    member.await_ready(READY_S)
    assert member.pid is not None
    limits = {
        name: resource.prlimit(member.pid, getattr(resource, f"RLIMIT_{name}"))[0]
        for name in ("AS", "CORE", "CPU", "FSIZE", "NOFILE", "NPROC")
    }
    assert limits["CORE"] == limits["FSIZE"] == limits["NPROC"] == 0
    assert 0 < limits["AS"] < 2**34
    assert 0 < limits["CPU"] <= sandbox.LOADING_CPU_S
    assert 0 < limits["NOFILE"] < 128
    assert os.sched_getscheduler(member.pid) == os.SCHED_OTHER
    mine, its = (os.getpriority(os.PRIO_PROCESS, pid) for pid in (0, member.pid))
    assert its == min(mine + 1, 19)
    status = Path(f"/proc/{member.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    member.close()
