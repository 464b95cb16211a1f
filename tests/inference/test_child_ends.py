# SPDX-License-Identifier: Apache-2.0
"""How workers start and end: refused in their own words, and nothing is left of them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import sysconfig
import threading
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from child import READY_S, strike, until
from strange_worker import program
from tiny_models import build, tiny, weights

from edgeguard import sandbox
from edgeguard.errors import ModelRefused
from edgeguard.inference import supervisor
from edgeguard.inference.child import ChildProcess
from edgeguard.inference.members import MemberSpec, open_members
from edgeguard.inference.memory import Answers, Frames
from edgeguard.inference.supervisor import Supervisor

pytestmark = pytest.mark.alone

OURS = {f"/memfd:edgeguard-{name}" for name in ("frames", "answers")}


def test_a_refused_model_is_refused_with_the_workers_words(tmp_path: Path) -> None:
    card = tiny(tmp_path)
    (tmp_path / "tiny.onnx").write_bytes(build(weights(5)))
    member = ChildProcess(MemberSpec("m", card))
    with pytest.raises(ModelRefused, match=r"^/.*tiny\.onnx: is not the file of its card 'tiny'"):
        member.await_ready(READY_S)
    member.close()


def test_a_worker_that_dies_while_it_loads_is_refused_by_its_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", "import os; os.kill(os.getpid(), 11)")
    member = ChildProcess(MemberSpec("m", tiny(tmp_path)))
    with pytest.raises(ModelRefused, match=r"tiny\.onnx: the worker was ended by SIGSEGV while"):
        member.await_ready(READY_S)
    member.close()


DIES_OF = """
plain = load
def load(card, path, *more):
    if "second" in path: %s
    return plain(card, path, *more)
"""


@pytest.mark.parametrize(
    ("how", "words"),
    [("os.kill(os.getpid(), 11)", "was ended by SIGSEGV while it loaded the model"),
     ("raise PermissionError(13, 'no')", "Errno 13")],
)  # fmt: skip
def test_the_file_that_a_group_dies_of_is_named(
    how: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no other: whoever is told would take the wrong one away."""
    monkeypatch.setattr(supervisor, "_PROGRAM", program("pass", DIES_OF % how))
    specs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        card = tiny(tmp_path / name)
        specs.append(MemberSpec(name, card, isolation="process", process="p"))
    with pytest.raises(ModelRefused, match=r"^/.*/second/tiny\.onnx: .*" + words) as refused:
        open_members(specs)
    assert "first" not in str(refused.value)


SAYS = """
import sys, json, os, time
os.write(json.loads(sys.argv[1])["mouth"], json.dumps(%r).encode() + b"\\n")
time.sleep(60)
"""
STEERS = "a\nb\x1b[2Jc"  # as a terminal takes it: another line, and a cleared screen


def test_a_workers_words_are_one_printable_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec = MemberSpec("m", tiny(tmp_path))
    monkeypatch.setattr(supervisor, "_PROGRAM", SAYS % {"refused": STEERS})
    member = ChildProcess(spec)
    with pytest.raises(ModelRefused, match=r"tiny\.onnx: a b \[2Jc$"):
        member.await_ready(READY_S)
    member.close()
    said = {"providers": {"m": STEERS}, "missing": [STEERS]}
    monkeypatch.setattr(supervisor, "_PROGRAM", SAYS % said)
    member = ChildProcess(spec)
    member.await_ready(READY_S)
    member.close()
    assert (member.provider, member.missing) == ("a b [2Jc", ("a b [2Jc",))
    assert caplog.messages == ["m: not wholly confined: a b [2Jc"]


def test_a_worker_that_never_gets_ready_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", "import time; time.sleep(60)")
    member = ChildProcess(MemberSpec("m", tiny(tmp_path), start_timeout_s=0.2))
    with pytest.raises(ModelRefused, match=r"not ready after 0\.2 s"):
        member.await_ready(READY_S)
    member.close()


@pytest.mark.parametrize("state", ["idle", "stopped", "starting", "closed twice"])
def test_closing_leaves_no_process_no_descriptor_and_no_memory(tmp_path: Path, state: str) -> None:
    card = tiny(tmp_path)
    descriptors = set(os.listdir("/proc/self/fd"))
    member = ChildProcess(MemberSpec("m", card))
    if state != "starting":
        member.await_ready(READY_S)
    pid = member.pid
    if state == "stopped":
        strike(member, signal.SIGSTOP)
        member.submit(1, 1)
    member.close()
    if state == "closed twice":
        member.close()
    assert (member.alive, member.submit(1, 1), member.poll()) == (False, False, None)
    assert pid is None or not Path(f"/proc/{pid}").exists()
    assert set(os.listdir("/proc/self/fd")) == descriptors
    maps = Path("/proc/self/maps").read_text()
    assert not OURS & set(maps.split())
    assert "/dev/shm/psm_" not in maps


def test_a_supervising_thread_that_outlives_close_releases_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = tiny(tmp_path)
    descriptors = set(os.listdir("/proc/self/fd"))
    go, start = threading.Event(), Supervisor._start

    def late(worker: Supervisor) -> Any:
        go.wait(READY_S)
        return start(worker)

    monkeypatch.setattr(Supervisor, "_start", late)
    member = ChildProcess(MemberSpec("m", card))
    thread = member.worker._thread
    monkeypatch.setattr(thread, "join", lambda timeout: None)
    member.close()
    assert thread.is_alive()
    go.set()
    assert until(lambda: not thread.is_alive())
    assert set(os.listdir("/proc/self/fd")) == descriptors
    assert not OURS & set(Path("/proc/self/maps").read_text().split())


def test_a_worker_that_cannot_be_told_its_members_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card, create = tiny(tmp_path), os.memfd_create

    def refuse(name: str, *flags: int) -> int:
        if name == "edgeguard-spec":
            raise OSError(24, "too many open files")
        return create(name, *flags)

    descriptors = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "memfd_create", refuse)
    member = ChildProcess(MemberSpec("m", card))
    with pytest.raises(ModelRefused, match=r"cannot be started: .* too many open files"):
        member.await_ready(READY_S)
    member.close()
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_memory_that_cannot_be_mapped_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no memory")

    card = tiny(tmp_path)
    descriptors = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("mmap.mmap", refuse)
    for make in (lambda: Frames.create((1, 2), "int8", 1), lambda: Answers.create(card)):
        with pytest.raises(OSError, match="no memory"):
            make()
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_when_descriptors_run_out_none_is_left_over(tmp_path: Path) -> None:
    """At each place where one is wanted, one after the other."""
    card = tiny(tmp_path)
    specs = [MemberSpec(name, card, isolation="process", process="eyes") for name in "ab"]
    descriptors = set(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(spare := os.dup(0))
    reasons: list[str] = []
    while len(reasons) < 100 and all("no worker can be started" in r for r in reasons):
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare + len(reasons), hard))
        try:
            for member in open_members(specs):
                member.close()
            reasons.append("")
        except ModelRefused as error:
            reasons.append(str(error))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert set(os.listdir("/proc/self/fd")) == descriptors, reasons
    assert reasons[0] == "a+b: no worker can be started: [Errno 24] Too many open files"
    assert 6 < len(reasons) < 100  # each has its memory twice, and both have two eventfds


def test_a_thread_that_does_not_start_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    spec = MemberSpec("m", tiny(tmp_path), isolation="process")
    descriptors = set(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ModelRefused, match="m: no worker can be started: can't start new thread"):
        open_members([spec])
    with pytest.raises(RuntimeError):
        ChildProcess(spec)
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_nothing_in_the_working_directory_is_run_by_the_worker(tmp_path: Path) -> None:
    tiny(tmp_path)
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    for name in ("json", "struct", "numpy", "edgeguard"):
        (here / f"{name}.py").write_text(f"open({str(here / 'ran')!r}, 'w')\n1 / 0\n")
    (there / "program.py").write_text(OPEN + "print(member.provider); member.close()")
    done = subprocess.run(
        [sys.executable, str(there / "program.py"), str(tmp_path / "tiny.card.json")],
        cwd=here, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "not wholly confined" not in line]
    assert (done.stdout, said) == ("CPUExecutionProvider\n", [])
    assert not (here / "ran").exists()


def test_installed_packages_stay_behind_the_standard_library() -> None:
    path = sandbox.import_path()
    library, packages = (sysconfig.get_path(name) for name in ("stdlib", "purelib"))
    assert path.index(library) < path.index(packages)
    assert "" not in path
    assert str(Path(sandbox.__file__).parents[1]) in path


def run_python(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=tiny_models.ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


OPEN = """
import sys, time
from edgeguard.card import Card
from edgeguard.inference.members import MemberSpec, open_members
(member,) = open_members([MemberSpec("m", Card.load(sys.argv[1]), isolation="process")])
"""


def test_f01_a_worker_ends_with_its_parent_even_while_it_hangs(tmp_path: Path) -> None:
    tiny(tmp_path)
    program = OPEN + "print(member.pid, flush=True); time.sleep(60)"
    parent = run_python(program, str(tmp_path / "tiny.card.json"))
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.communicate()
    assert until(lambda: ended(pid), 5.0)


def ended(pid: int) -> bool:
    """Gone, or a zombie that init has yet to collect."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_the_deciding_process_holds_no_ml_runtime(tmp_path: Path) -> None:
    tiny(tmp_path)
    program = OPEN + (
        "assert member.submit(1, 1) and member.wait(30)\n"
        "maps = open('/proc/self/maps').read()\n"
        "names = ('onnxruntime', 'litert', 'tflite', 'tensorflow')\n"
        "print([n for n in names if n in maps or any(n in m.split('.')[0] for m in sys.modules)])\n"
        "member.close()"
    )
    process = run_python(program, str(tmp_path / "tiny.card.json"))
    assert process.communicate(timeout=60)[0].strip() == "[]"
