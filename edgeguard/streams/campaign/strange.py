# SPDX-License-Identifier: Apache-2.0
"""A worker that turns on the guard when it is told to, by a real-time signal.

It is the real program of a worker, confined as any, until the signal comes. What it then does is in
`ACTS`, at once and wherever it is, or in `LIES`, with the next answer that it is asked for.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgeguard import _isolation, sandbox
from edgeguard.card import Card
from edgeguard.inference import memory, worker
from edgeguard.streams.campaign.puppets import say

Words = npt.NDArray[np.uint64]
SEQUENCE, EPOCH, SERIAL, CONTENT = range(4)
DID = 7  # a word of an answer that nobody reads: how often its worker was told to do something
HEADER = 8  # words of an answer before its scores
MIB = 1 << 20
TAKEN_S = 0.04  # an answer was copied by then, four control periods later


def program(daring: int) -> str:
    """The source of such a worker; daring: the label that it would like to be followed to."""
    source = sandbox.program(__name__)
    return source.replace("main(o)", f"main(o, {daring})")


def main(options: dict[str, Any], daring: int) -> int:
    """As `worker.main`."""
    Lane.daring = daring
    for number, act in enumerate(ACTS.values()):
        signal.signal(signal.SIGRTMIN + number, lambda *_, act=act: act())
    for number, lie in enumerate(LIES.values(), len(ACTS)):
        signal.signal(signal.SIGRTMIN + number, lambda *_, lie=lie: Lane.lies.append(lie))
    worker._Lane = Lane  # type: ignore[misc]
    return worker.main(options)


def number_of(name: str) -> int:
    """The signal that makes a worker do this."""
    return signal.SIGRTMIN + [*ACTS, *LIES].index(name)


class Lane(worker._Lane):
    """A member in such a worker: honest, until it has a lie to tell."""

    daring = 0
    lies: ClassVar[list[Callable[[Lane, Words, Words], None]]] = []
    all: ClassVar[list[Lane]] = []

    def __init__(self, spec: dict[str, Any], card: Card) -> None:
        super().__init__(spec, card)
        sizes = memory._sizes(card)
        room = mmap.mmap(-1, _isolation.Answers.size(*sizes))
        self._aside = _isolation.Answers(room, *sizes, True)
        self._true = np.frombuffer(room, np.uint64).reshape(2, -1)
        self.memory = np.frombuffer(self._answers.map, np.uint64).reshape(2, -1)
        self._dare = say(card, self.daring, Random(0)).view(np.uint8)
        Lane.all.append(self)

    def serve(self, epoch: int) -> bool:
        """Answer, or say something else in its place."""
        if not self.lies:
            return super().serve(epoch)
        honest, self._answers.native = self._answers.native, self._aside
        try:
            asked = super().serve(epoch)
        finally:
            self._answers.native = honest
        if asked:
            row = self._seen % 2
            self.did()
            self.lies[0](self, self._true[row], self.memory[row])
        return asked

    def did(self) -> None:
        """Leave a mark: whoever judges this has to know that it happened."""
        self._true[:, DID] += np.uint64(1)
        self.memory[:, DID] = self._true[:, DID]

    def put(self, answer: Words, into: Words) -> None:
        """Write it as an honest worker does: its sequence is odd meanwhile."""
        into[SEQUENCE] |= np.uint64(1)
        into[1:] = answer[1:]
        into[SEQUENCE] += np.uint64(1)

    def daringly(self, true: Words) -> Words:
        """The same answer, with scores that ask for the most."""
        made: Words = true.copy()
        made[HEADER:].view(np.uint8)[: self._dare.size] = self._dare
        return made


# ------------------------------------------------------------------ at once


def _deaf() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))


def _spins_deaf() -> None:
    _deaf()
    while True:
        pass


def _sleeps_deaf() -> None:
    _deaf()
    time.sleep(3600)


def _hoards() -> None:
    """Until it is refused, which ends it: what a runtime does that is out of memory."""
    held = []
    while True:
        held.append(bytearray(MIB))


def _churns() -> None:
    """Takes all the memory that it may have, writes to it, and gives it back, for ever."""
    _deaf()
    while True:
        held = []
        with contextlib.suppress(MemoryError):
            while True:
                held.append(bytearray(b"x") * MIB)
        held.clear()


def _litters() -> None:
    """Random bytes all over the memory of all its answers, without pause."""
    chance = np.random.default_rng(os.getpid())
    _deaf()
    while True:
        for lane in Lane.all:
            lane.memory[:] = chance.integers(0, 2**64, lane.memory.shape, np.uint64)


def _reaches() -> None:
    """Tries what a worker must not be able to; where one thing succeeds, it ends."""
    for lane in Lane.all:
        for fd in (lane._answers.fd, lane._frames.fd):
            for size in (0, 1 << 30):
                with contextlib.suppress(OSError):
                    os.ftruncate(fd, size)
                    os._exit(99)
        with contextlib.suppress(OSError):
            mmap.mmap(lane._frames.fd, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            os._exit(98)
        lane.did()
    with contextlib.suppress(OSError):
        os.kill(os.getppid(), signal.SIGKILL)
        os._exit(97)


ACTS: dict[str, Callable[[], object]] = {
    "null pointer": lambda: ctypes.string_at(0),
    "leaves": lambda: os._exit(0),
    "raises": lambda: sys.exit(1),
    "spins, signals blocked": _spins_deaf,
    "sleeps, signals blocked": _sleeps_deaf,
    "eats memory": _hoards,
    "churns memory": _churns,
    "garbage": _litters,
    "shrinks": _reaches,
}

# --------------------------------------------------- in place of the answer


def _echoes(word: int, more: int) -> Callable[[Lane, Words, Words], None]:
    """Sure of the most daring label, in answer to something else."""

    def lie(lane: Lane, true: Words, into: Words) -> None:
        made = lane.daringly(true)
        made[word] = (int(made[word]) + more) % 2**64
        lane.put(made, into)

    return lie


def _as_it_was(lane: Lane, true: Words, into: Words) -> None:
    """The answer of two frames ago, said to be news."""
    into[SEQUENCE] += np.uint64(2)


def _torn(lane: Lane, true: Words, into: Words) -> None:
    """Half true, half daring, and never finished."""
    made = lane.daringly(true)
    while True:
        into[SEQUENCE] |= np.uint64(1)
        into[1:] = true[1:]
        into[HEADER + 1 :] = made[HEADER + 1 :]


def _dies_writing(lane: Lane, true: Words, into: Words) -> None:
    into[SEQUENCE] |= np.uint64(1)
    into[1 : HEADER + 2] = lane.daringly(true)[1 : HEADER + 2]
    ctypes.string_at(0)


def _rewrites(lane: Lane, true: Words, into: Words) -> None:
    """An honest answer, and another one over it as soon as it may have been taken."""
    made = lane.daringly(true)
    lane.put(true, into)
    time.sleep(TAKEN_S)
    for _ in range(20):
        lane.put(made, into)
        time.sleep(0.001)


LIES: dict[str, Callable[[Lane, Words, Words], None]] = {
    "another frame's": _echoes(SERIAL, -1),
    "a frame to come's": _echoes(SERIAL, 2),
    "a dead worker's": _echoes(EPOCH, -1),
    "a worker to come's": _echoes(EPOCH, 1),
    "another picture's": _echoes(CONTENT, 1),
    "as it was": _as_it_was,
    "torn": _torn,
    "dies while it writes": _dies_writing,
    "rewritten": _rewrites,
}
