# SPDX-License-Identifier: Apache-2.0
"""The rings: no slot is written while somebody reads it, and no torn copy ever counts (F29)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import images, tiny

from edgeguard.card import Card
from edgeguard.inference.child import ChildProcess
from edgeguard.inference.members import MemberSpec
from edgeguard.inference.memory import Answers, Frames

READY_S = 30.0


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=30))
def test_a_slot_in_somebodys_hands_is_never_written(steps: list[tuple[int, bool]]) -> None:
    """Each step publishes a frame, and one lane asks for it or is done with its own."""
    frames = Frames.create((1, 4), "uint8", 3)
    held: dict[int, int] = {}
    for number, (lane, asks) in enumerate(steps, 1):
        frames.input[:] = number
        frames.publish()
        if asks and lane not in held:
            frames.ask(lane)
            held[lane] = number
        elif not asks and held.pop(lane, None):
            frames.reading[lane] = None
        for reader, wanted in held.items():
            slot = frames.reading[reader]
            assert slot is not None
            assert (frames.slots[slot] == wanted).all()
    frames.close()


WRITER = """
import os, sys
import numpy as np
from pathlib import Path
from edgeguard.card import Card
from edgeguard.inference.memory import Answers, Frames
card, frames_fd, answers_fd = Card.load(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
frames = Frames(frames_fd, (1, 4), "uint8", 1, mine=False)
answers = Answers(answers_fd, card, mine=True)
scores, embedding = np.zeros(5, np.int8), np.zeros(8, np.float32)
print(flush=True)
parent = os.getppid()
number = 0
while os.getppid() == parent:
    number = (number + 1) % 100
    scores[:], embedding[:] = number, number
    answers.native.write(frames.native, 0, 7, scores, embedding)
"""


def test_f29_a_torn_copy_is_no_answer(tmp_path: Path) -> None:
    """A worker that rewrites its answer without pause: every copy is one of those it wrote."""
    card: Card = tiny(tmp_path)
    frames, answers = Frames.create((1, 4), "uint8", 1), Answers.create(card)
    frames.input[:] = 1
    frames.publish(content=5)
    arguments = [str(tmp_path / "tiny.card.json"), str(frames.fd), str(answers.fd)]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments],
        stdout=subprocess.PIPE, pass_fds=(frames.fd, answers.fd),
    ) as writer:  # fmt: skip
        assert writer.stdout is not None
        writer.stdout.readline()
        scores, embedding = np.zeros(5, np.int8), np.zeros(8, np.float32)
        answers.native.expect(7, frames.sequence, 5)
        seen, end = set(), time.monotonic() + READY_S
        while len(seen) < 50 and time.monotonic() < end:
            ready_ns = answers.native.take(scores, embedding)
            assert ready_ns >= 0
            if ready_ns > 0:
                assert len({*scores.tolist(), *embedding.tolist()}) == 1
                seen.add(int(scores[0]))
        writer.kill()
    assert len(seen) == 50
    answers.close()
    frames.close()


def test_members_in_different_workers_read_one_frame_that_was_written_once(tmp_path: Path) -> None:
    """One of them hangs on an old frame, which stays as it was; the others go on."""
    specs, frames = [], Frames.create((1, 3, 4, 4), "int8", 3)
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        specs.append(MemberSpec(name, tiny(tmp_path / name), frames=frames, hang_s=60.0))
    members = [ChildProcess(spec) for spec in specs]
    for member in members:
        member.await_ready(READY_S)
    pid = members[0].pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wanted = []
    for number in range(5):
        frames.input[0] = images()[number % 4]
        frames.publish()
        for member in members:
            assert member.submit(number, number) == (member is not members[0] or number == 0)
        for member in members[1:]:
            assert member.wait(READY_S) is not None, member.reason
        assert members[1].scores.tobytes() == members[2].scores.tobytes()
        wanted.append(members[1].scores.copy())
    os.kill(pid, signal.SIGCONT)
    result = members[0].wait(READY_S)
    assert result is not None
    assert result.serial == 0
    assert np.array_equal(members[0].scores, wanted[0])
    for member in members:
        member.close()
    frames.close()
