# SPDX-License-Identifier: Apache-2.0
"""F05, F29: an answer that nobody asked for is never a result."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
from child import READY_S, Open, ask, strike, until

from edgeguard.inference import supervisor
from edgeguard.inference.child import ChildProcess

pytestmark = pytest.mark.alone

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
        "row[1:5] = epoch, serial, content, 0; row[0] = int(row[0]) | 1",  # for ever in the making
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
