# SPDX-License-Identifier: Apache-2.0
"""F01, F02, F03 and F05 at the member: whatever happens to a worker, the deciding side goes on.

The faults are real: signals to the worker's process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from tiny_models import build, images, reference, tiny, weights

from edgeguard import sandbox
from edgeguard.errors import ModelRefused
from edgeguard.inference import supervisor
from edgeguard.inference.child import ChildProcess
from edgeguard.inference.members import MemberSpec, Result, open_members
from edgeguard.inference.memory import Answers, Frames
from edgeguard.inference.supervisor import Supervisor

Open = Callable[..., ChildProcess]
READY_S = 30.0


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens process members of the tiny model and closes them after the test."""
    members: list[ChildProcess] = []

    def make(**options: Any) -> ChildProcess:
        options = {"backoff_s": 0.01} | options
        members.append(
            ChildProcess(MemberSpec("m", tiny(tmp_path), isolation="process", **options))
        )
        members[-1].await_ready(READY_S)
        return members[-1]

    yield make
    for member in members:
        member.close()


def ask(member: ChildProcess, serial: int = 1) -> Result | None:
    member.input[0] = images()[serial % 4]
    assert member.submit(serial, 1000 * serial)
    return member.wait(READY_S)


def until(condition: Callable[[], bool], seconds: float = READY_S) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)
    return condition()


def strike(member: ChildProcess, number: signal.Signals) -> int:
    pid = member.pid
    assert pid is not None
    os.kill(pid, number)
    return pid


def test_scores_and_embedding_are_those_of_the_model(opened: Open) -> None:
    member = opened()
    expected = reference(build(weights()), images())
    given = np.zeros(5, np.int8)
    member.bind_scores(given)
    for serial in range(1, 30):
        result = ask(member, serial)
        assert result is not None
        assert (result.serial, result.t_capture_ns) == (serial, 1000 * serial)
        assert 0 < result.took_ns < READY_S * 1e9
        assert np.array_equal(given, expected[serial % 4])
        assert member.embedding is not None
        assert member.embedding.max() > 0
        assert member.poll() is None
    assert member.provider == "CPUExecutionProvider"


def test_members_take_their_input_from_one_shared_array(tmp_path: Path) -> None:
    spec = MemberSpec("m", tiny(tmp_path), isolation="process")
    members = open_members([spec, MemberSpec("n", spec.card)])
    shared = np.zeros(tiny_models.SHAPE, np.int8)
    for member in members:
        member.bind_input(shared)
    shared[0] = images()[3]
    for member in members:
        assert member.submit(1, 0)
        assert member.wait(READY_S) is not None
        assert np.array_equal(member.scores, reference(build(weights()), images()[3:])[0])
        member.close()


def test_a_frame_submitted_while_the_worker_is_busy_is_dropped(opened: Open) -> None:
    member = opened()
    pid = strike(member, signal.SIGSTOP)
    member.input[0] = images()[0]
    assert member.submit(1, 1)
    member.input[0] = images()[1]
    assert not member.submit(2, 2)
    os.kill(pid, signal.SIGCONT)
    result = member.wait(READY_S)
    assert result is not None
    assert result.serial == 1
    assert np.array_equal(member.scores, reference(build(weights()), images()[:1])[0])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_f01_a_killed_worker_is_noticed_and_comes_back_tested(
    opened: Open, number: signal.Signals
) -> None:
    member = opened()
    assert ask(member) is not None
    pid = strike(member, number)
    assert until(lambda: not member.alive, 5.0)
    assert number.name in member.reason
    assert not Path(f"/proc/{pid}").exists(), "a zombie"
    member.await_ready(READY_S)
    assert member.pid != pid
    assert ask(member, 3) is not None


def test_f01_a_member_without_a_worker_takes_and_gives_nothing(opened: Open) -> None:
    member = opened(restarts=0)
    strike(member, signal.SIGKILL)
    assert until(lambda: not member.alive)
    assert (member.poll(), member.submit(2, 2), member.wait(0.1)) == (None, False, None)


def test_f01_a_worker_killed_with_a_request_in_flight_gives_no_answer(opened: Open) -> None:
    member = opened()
    strike(member, signal.SIGSTOP)
    assert member.submit(1, 1)
    strike(member, signal.SIGKILL)
    assert until(lambda: not member.alive, 5.0)
    member.await_ready(READY_S)
    assert member.poll() is None
    result = ask(member, 2)
    assert result is not None
    assert result.serial == 2


def test_f01_restarts_end_with_the_budget(opened: Open) -> None:
    member = opened(restarts=1)
    strike(member, signal.SIGKILL)
    assert until(lambda: not member.alive)
    member.await_ready(READY_S)
    strike(member, signal.SIGKILL)
    assert until(lambda: not member.alive)
    with pytest.raises(ModelRefused, match=r"SIGKILL; quarantined: 1 restarts in 3600 s are used"):
        member.await_ready(READY_S)
    assert not member.submit(1, 1)


def test_f01_a_worker_is_not_readmitted_when_the_self_test_fails(
    opened: Open, tmp_path: Path
) -> None:
    member = opened(restarts=20)
    honest = (tmp_path / "tiny.onnx").read_bytes()
    (tmp_path / "tiny.onnx").write_bytes(build(weights(5)))
    strike(member, signal.SIGKILL)
    assert until(lambda: "is not the file of its card" in member.reason)
    assert (member.alive, member.pid) == (False, None)
    (tmp_path / "tiny.onnx").write_bytes(honest)
    member.await_ready(READY_S)
    assert ask(member) is not None


def test_f02_a_hanging_worker_is_lost_killed_and_replaced(opened: Open) -> None:
    member = opened(hang_s=3.0)  # also for the ask at the end, on a machine with other work
    pid = strike(member, signal.SIGSTOP)
    assert member.submit(1, 1)
    assert (member.poll(), member.alive) == (None, True)
    started = time.monotonic()
    assert member.wait(READY_S) is None
    assert 2.0 < time.monotonic() - started < READY_S
    assert (member.alive, member.reason) == (False, "no answer for 3 s")
    member.await_ready(READY_S)
    assert not Path(f"/proc/{pid}").exists()
    assert ask(member, 2) is not None


def test_f03_a_late_answer_is_told_by_its_serial_and_its_time(opened: Open) -> None:
    member = opened()
    pid = strike(member, signal.SIGSTOP)
    assert member.submit(1, 1)
    assert member.wait(0.15) is None
    assert member.alive, "late is not lost"
    os.kill(pid, signal.SIGCONT)
    result = member.wait(READY_S)
    assert result is not None
    assert result.serial == 1
    assert result.took_ns > 140_000_000


def test_latency_counts_from_the_stamp_that_travels_with_the_request(opened: Open) -> None:
    member = opened()
    entered = time.monotonic_ns() - 5_000_000_000
    pid = strike(member, signal.SIGSTOP)
    assert member.submit(1, 1000, entered)
    assert not member.submit(2, 2000, entered + 4_000_000_000), "dropped, with its stamp"
    os.kill(pid, signal.SIGCONT)
    result = member.wait(READY_S)
    assert result is not None
    assert (result.serial, result.t_capture_ns) == (1, 1000)
    assert result.took_ns == result.t_ready_ns - entered


def test_two_threads_may_wait_poll_and_submit(opened: Open) -> None:
    member = opened()
    raised: list[Exception] = []
    done = threading.Event()

    def look() -> None:
        try:
            while not done.is_set():
                member.wait(0.01)
                member.poll()
        except Exception as error:
            raised.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for serial in range(300):
        member.submit(serial, serial)
        time.sleep(0.001)
    done.set()
    for thread in threads:
        thread.join()
    assert (raised, member.alive) == ([], True)


def test_the_deciding_side_never_blocks(opened: Open) -> None:
    """Counted in voluntary waits, for on a loaded machine any call may take long."""
    member = opened(hang_s=0.2, restarts=20)
    slept = worst = 0.0
    for number in (signal.SIGSTOP, signal.SIGKILL):
        member.await_ready(READY_S)
        strike(member, number)
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            before = time.monotonic(), blocked()
            member.submit(1, 1)
            member.poll()
            worst = max(worst, time.monotonic() - before[0])
            slept += blocked() - before[1]
            time.sleep(0.001)
    assert worst < 1.0, "seconds in one call"
    assert slept < 50, "voluntary context switches of the deciding thread in its calls"


def blocked() -> int:
    """How often the calling thread has given up the processor to wait."""
    import resource

    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


# --- answers that nobody asked for ---

LIAR = """
import sys, json, os, select
o = json.loads(sys.argv[1])
sys.path[:] = o["path"]
import numpy as np
from edgeguard.card import Card
from edgeguard.inference.memory import Answers, Frames
from pathlib import Path
spec = json.loads(os.pread(o["spec"], 10**6, 0))
epoch, m = spec["epoch"], spec["members"][0]
card = Card.from_dict(m["card"], Path(m["directory"]))
frames = Frames(m["frames"], card.input.shape, card.input.dtype, m["lanes"], mine=False)
answers = Answers(m["answers"], card, mine=True)
memory = np.frombuffer(answers.map, np.uint64).reshape(2, -1)  # a row each: header, body
os.write(o["mouth"], json.dumps({"providers": {"m": "liar"}}).encode() + b"\\n")
wake = select.poll()
wake.register(o["wake"], select.POLLIN)
wake.poll()
slot, serial = frames.native.asked(0, 0)
row = memory[serial %% 2]
content = 0
%s
os.eventfd_write(o["done"], 1)
wake.unregister(o["wake"])
wake.poll(60_000)
"""
SEQUENCE, EPOCH, SERIAL, CONTENT, READY = range(5)


def answering(how: str) -> str:
    """A worker that writes an answer of its own making to its memory."""
    return LIAR % how


HONEST = "row[1:5] = epoch, serial, content, 0; row[0] += 2"


@pytest.mark.parametrize(
    "answer",
    [
        "row[1:5] = epoch, serial - 1, content, 0; row[0] += 2",
        "row[1:5] = epoch, serial + 2, content, 0; row[0] += 2",
        "row[1:5] = epoch - 1, serial, content, 0; row[0] += 2",
        "row[1:5] = epoch + 1, serial, content, 0; row[0] += 2",
        "row[1:5] = epoch, serial, content + 1, 0; row[0] += 2",
        "row[0] += 2",  # the memory as it was, said to be news
        "memory[:] = 0x1111111111111110",
    ],
)
def test_f29_an_answer_to_something_else_is_never_a_result(
    opened: Open, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", answering(answer))
    member = opened(restarts=0)
    assert member.submit(7, 7)
    assert member.wait(READY_S) is None
    assert not member.alive
    assert "not asked for" in member.reason


@pytest.mark.parametrize(
    "answer",
    [
        "row[1:5] = epoch, serial, content, 0; row[0] |= 1",  # for ever in the making
        "memory[:] = 0xFFFFFFFFFFFFFFFF",
        "row[1:5] = epoch, serial, content, 0",  # not said to be there
    ],
)
def test_f29_an_answer_that_is_never_finished_is_a_hang(
    opened: Open, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", answering(answer))
    member = opened(restarts=0, hang_s=0.5)
    assert member.submit(7, 7)
    assert member.wait(READY_S) is None
    assert member.reason.startswith("no answer for 0.5 s")


def test_f29_what_is_rewritten_after_it_was_taken_changes_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = "; os.eventfd_write(o['done'], 1); import time; time.sleep(0.5); memory[:] = 2**62"
    monkeypatch.setattr(supervisor, "_PROGRAM", answering(HONEST + later))
    member = opened(restarts=0)
    member.scores[:] = 99
    assert member.submit(7, 7)
    assert member.wait(READY_S) is not None
    taken = member.scores.copy()
    assert not taken.any()
    time.sleep(1.0)
    assert np.array_equal(member.scores, taken)
    assert member.poll() is None


def test_f29_the_answer_of_a_former_worker_is_refused(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in memory, right in everything but its epoch, when the next worker is asked."""
    member = opened()
    assert ask(member) is not None
    strike(member, signal.SIGKILL)
    assert until(lambda: not member.alive)
    monkeypatch.setattr(
        supervisor, "_PROGRAM",
        answering("row[1:5] = epoch - 1, serial, content, 0; row[0] += 2"),
    )  # fmt: skip
    strike_if_alive(member)
    assert until(lambda: member.provider == "liar" and member.alive)
    assert member.submit(2, 2)
    assert member.wait(READY_S) is None
    assert "not asked for" in member.reason


def strike_if_alive(member: ChildProcess) -> None:
    """The next worker may have been started already, before its program was changed."""
    member.await_ready(READY_S)
    if member.provider != "liar":
        strike(member, signal.SIGKILL)


def test_a_ready_time_before_the_request_or_in_the_future_is_not_believed(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lie in (0, 2**63 - 1, 2**64 - 1):
        how = f"row[1:5] = epoch, serial, content, {lie}; row[0] += 2"
        monkeypatch.setattr(supervisor, "_PROGRAM", answering(how))
        member = opened(restarts=0)
        before = time.monotonic_ns()
        assert member.submit(7, 7)
        result = member.wait(READY_S)
        assert result is not None
        assert before <= result.t_ready_ns <= time.monotonic_ns()
        assert 0 <= result.took_ns < READY_S * 1e9


FAILING = """
import sys, json
o = json.loads(sys.argv[1])
sys.path[:] = o["path"]
from edgeguard.errors import InferenceError
from edgeguard.inference import worker
load = worker.load_model

class Failing:
    def __init__(self, model): self.model = model
    def __getattr__(self, name): return getattr(self.model, name)
    def run(self): raise InferenceError("tiny.onnx: out of memory")

worker.load_model = lambda *a: Failing(load(*a))
sys.exit(worker.main(o))
"""


@pytest.mark.parametrize("asked", [True, False])
def test_f01_a_worker_whose_runtime_fails_is_lost_with_the_runtimes_words(
    opened: Open, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    monkeypatch.setattr(supervisor, "_PROGRAM", FAILING)
    member = opened(restarts=0)
    assert member.submit(7, 7)
    if asked:
        assert member.wait(READY_S) is None
    assert until(lambda: not member.alive)  # the supervising thread reads its last words, too
    assert member.reason.startswith("tiny.onnx: out of memory; quarantined")


# --- starting and ending ---


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
    assert "memfd:edgeguard" not in maps
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
    assert "memfd:edgeguard" not in Path("/proc/self/maps").read_text()


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
