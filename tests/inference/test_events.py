# SPDX-License-Identifier: Apache-2.0
"""Security events of real, confined workers that break a rule; and none of those that only fail."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from child import READY_S, until
from strange_worker import program
from tiny_models import build, images, tiny, weights

from edgeguard import _isolation, sandbox
from edgeguard.errors import InferenceError
from edgeguard.inference import supervisor
from edgeguard.inference.child import ChildProcess
from edgeguard.inference.members import InProcess, MemberSpec

needs_seccomp = pytest.mark.skipif(not _isolation.has_seccomp(), reason="needs: seccomp")
needs_landlock = pytest.mark.skipif(_isolation.landlock_abi() == 0, reason="needs: Landlock")

# getpid() by the 32-bit door of the kernel, where the filter's numbers mean other calls.
OTHER_DOOR = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
enter = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
"""


Run = Callable[..., tuple[list[str], str]]


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Has a worker's model do something; what events came of it, and why the member was lost."""
    events: list[str] = []
    opened: list[ChildProcess] = []

    def run(lines: str, before: str = "") -> tuple[list[str], str]:
        monkeypatch.setattr(supervisor, "_PROGRAM", program(lines, before))
        member = ChildProcess(MemberSpec("m", tiny(tmp_path), restarts=0, event=events.append))
        opened.append(member)
        member.await_ready(READY_S)
        member.input[0] = images()[0]
        assert member.submit(1, 1)
        assert until(lambda: "quarantined" in member.reason)
        return events, member.reason

    yield run
    for member in opened:
        member.close()


@needs_seccomp
def test_a_call_of_another_architecture_is_a_violation(broken: Run) -> None:
    there = (
        platform.machine() == "x86_64"
        and not subprocess.run(
            [sys.executable, "-c", f"{OTHER_DOOR}\nenter()"], check=False
        ).returncode
    )
    if not there:
        pytest.skip("needs: 32-bit calls of x86-64 (IA32_EMULATION)")
    events, reason = broken("enter()", OTHER_DOOR)
    assert events == ["sandbox_violation"]
    assert "SIGSYS" in reason


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param("open('/etc/passwd')", marks=needs_landlock),
        pytest.param("socket.socket()", marks=needs_seccomp),
        pytest.param("os.kill(os.getppid(), 0)", marks=needs_seccomp),
    ],
)
@pytest.mark.parametrize("kind", ["raised", "wrapped"])
def test_what_is_refused_to_a_worker_is_a_violation(broken: Run, attempt: str, kind: str) -> None:
    lines = attempt
    if kind == "wrapped":
        lines = f"try:\n    {attempt}\nexcept OSError:\n    raise worker.InferenceError('odd')"
    events, reason = broken(lines)
    assert events == ["sandbox_violation"]
    assert reason.startswith("odd" if kind == "wrapped" else "[Errno")


@needs_seccomp
def test_a_member_is_lost_before_anybody_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is told may take his time: a full log, for instance."""
    monkeypatch.setattr(supervisor, "_PROGRAM", program("socket.socket()"))
    told: list[tuple[str, bool]] = []
    spec = MemberSpec(
        "m", tiny(tmp_path), restarts=0, event=lambda name: told.append((name, member.alive))
    )
    member = ChildProcess(spec)
    member.await_ready(READY_S)
    member.input[0] = images()[0]
    assert member.submit(1, 1)
    assert until(lambda: "quarantined" in member.reason)
    member.close()
    assert told == [("sandbox_violation", False)]


@pytest.mark.parametrize(
    "lines",
    [
        "raise worker.InferenceError('out of memory')",
        "os.kill(os.getpid(), signal.SIGSEGV)",
        "os.abort()",
        "1 / 0",
        "open('/nowhere')",
        "raise worker.InferenceError('Permission denied')",
    ],
)
def test_what_only_fails_is_none(broken: Run, lines: str) -> None:
    events, _ = broken(lines)
    assert events == []


def test_its_own_file_that_somebody_closed_to_it_is_none(tmp_path: Path) -> None:
    model, golden = tmp_path / "tiny.onnx", tmp_path / "golden"
    need = sandbox.Need((model, golden))
    assert not sandbox.denied(PermissionError(13, "", str(model)), need)
    assert not sandbox.denied(PermissionError(13, "", str(golden / "x.npz")), need)
    assert sandbox.denied(PermissionError(13, "", str(tmp_path / "other")), need)
    assert sandbox.denied(PermissionError(1, "no name"), need)


def test_a_file_that_is_another_one_at_readmission_is_refused_once(tmp_path: Path) -> None:
    events: list[str] = []
    spec = MemberSpec("m", tiny(tmp_path), restarts=3, backoff_s=0.01, event=events.append)
    member = ChildProcess(spec)
    try:
        member.await_ready(READY_S)
        (tmp_path / "tiny.onnx").write_bytes(build(weights(5)))
        assert member.pid is not None
        os.kill(member.pid, signal.SIGKILL)
        assert until(lambda: "quarantined" in member.reason)
        assert "is not the file of its card" in member.reason
    finally:
        member.close()
    assert events == ["refused_file"], "three starts, one file"


BY_TURNS = """
import sys, json, os
o = json.loads(sys.argv[1])
epoch = json.loads(os.pread(o["spec"], 10**6, 0))["epoch"]
said = {1: {"providers": {}}, 2: {"refused": "another file"}, 4: {"refused": "another file"}}
os.write(o["mouth"], json.dumps(said.get(epoch, {})).encode() + b"\\n")
"""


def test_a_refusal_with_a_crash_in_between_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", BY_TURNS)
    events: list[str] = []
    spec = MemberSpec("m", tiny(tmp_path), restarts=3, backoff_s=0.01, event=events.append)
    member = ChildProcess(spec)
    assert until(lambda: "quarantined" in member.reason)
    member.close()
    assert member.worker.epoch == 4
    assert events == ["refused_file"]


def test_a_first_refusal_is_for_whoever_opens_the_member(tmp_path: Path) -> None:
    events: list[str] = []
    card = tiny(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(build(weights(5)))
    member = ChildProcess(MemberSpec("m", card, event=events.append))
    assert until(lambda: "is not the file of its card" in member.reason)
    member.close()
    assert events == []


def test_a_member_in_this_process_that_is_not_readmitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    now = [0]
    spec = MemberSpec("m", tiny(tmp_path), backoff_s=0.01, event=events.append)
    member = InProcess(spec, clock=lambda: now[0])

    def fails() -> None:
        raise InferenceError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(member._model, "run", fails)
        assert member.run(0) is None
    assert events == []
    golden = tmp_path / member.card.golden.file if member.card.golden else tmp_path
    golden.write_bytes(b"changed")
    for _ in range(3):
        now[0] += 10**9
        assert member.run(0) is None
    member.close()
    assert events == ["refused_file"]
