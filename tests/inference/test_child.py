# SPDX-License-Identifier: Apache-2.0
"""F01, F02, F03 at the member: whatever happens to a worker, the deciding side goes on.

The faults are real: signals to the worker's process.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from child import READY_S, Open, ask, strike, until
from tiny_models import build, images, reference, tiny, weights

from edgeguard.errors import ModelRefused
from edgeguard.inference import supervisor
from edgeguard.inference.members import MemberSpec, open_members

pytestmark = pytest.mark.alone


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


def test_whoever_polls_does_not_wait_for_a_copy_of_the_input(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, copy, held = opened(), np.copyto, []
    member.bind_input(np.zeros(tiny_models.SHAPE, np.int8))

    def watched(*given: Any) -> None:
        held.append(member.worker.lock.locked())
        copy(*given)

    with monkeypatch.context() as patch:
        patch.setattr(np, "copyto", watched)
        assert member.submit(1, 1)
    assert held == [False]
    assert member.wait(READY_S) is not None


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


def test_f01_restarts_end_with_the_budget(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Each end and each return is told."""
    member = opened(restarts=1)
    pid = strike(member, 0)  # only looks
    assert Path(f"/proc/{pid}/comm").read_text() == f"{member.name}\n"
    strike(member, signal.SIGKILL)
    assert until(lambda: not member.alive)
    member.await_ready(READY_S)
    strike(member, signal.SIGKILL)
    assert until(lambda: not member.alive)
    with pytest.raises(ModelRefused, match=r"SIGKILL; quarantined: 1 restarts in 3600 s are used"):
        member.await_ready(READY_S)
    assert not member.submit(1, 1)
    died, budget = "m: the worker was ended by SIGKILL", "1 restarts in 3600 s are used up"
    told = [died, "m: is back, after its self-test", died, f"{died}; quarantined: {budget}"]
    assert until(lambda: [text for text in caplog.messages if "wholly" not in text] == told)


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
