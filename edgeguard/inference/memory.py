# SPDX-License-Identifier: Apache-2.0
"""The memory between the guard and its workers, as anonymous, sealed files.

``Frames``: what a camera's members read. The guard writes each frame there once; a worker can map
it only for reading. ``Answers``: what one member found. Its worker writes there, and the guard maps
it only for reading, copies an answer once and checks the copy. Neither can shrink or grow.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os

import numpy as np

from edgeguard import _isolation
from edgeguard.card import Card
from edgeguard.inference.buffers import Array
from edgeguard.sandbox import F_SEAL_FUTURE_WRITE

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class Frames:
    """A ring of inputs that members of one camera and input spec share, each on a lane of its own.

    There is a slot more than lanes, so one is always free. ``fd`` is what a worker inherits.
    """

    def __init__(self, fd: int, shape: tuple[int, ...], dtype: str, lanes: int, mine: bool) -> None:
        """Map an existing memory file; ``mine``: to write to it."""
        self.fd, self.shape, self.dtype, self.lanes = fd, shape, dtype, lanes
        count = int(np.prod(shape))
        size = count * np.dtype(dtype).itemsize
        layout = lanes, lanes + 1, size
        access = mmap.PROT_READ | (mmap.PROT_WRITE if mine else 0)
        memory = mmap.mmap(fd, _isolation.Frames.size(*layout), prot=access)
        self.native = _isolation.Frames(memory, *layout, mine)
        self.slots = [
            np.frombuffer(memory, dtype, count, self.native.offset(i)).reshape(shape)
            for i in range(lanes + 1)
        ]
        self.reading: list[int | None] = [None] * lanes  # by lane: the slot that is in its hands
        self.sequence = self.content = 0  # of the frame published last
        self.slot = 0
        self._begun = False
        self._taken = 0

    @classmethod
    def create(cls, shape: tuple[int, ...], dtype: str, lanes: int) -> Frames:
        """A new ring. No other mapping of it can ever be written to."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        fd = _file("edgeguard-frames", _isolation.Frames.size(lanes, lanes + 1, size))
        try:
            made = cls(fd, shape, dtype, lanes, mine=True)
            with contextlib.suppress(OSError):  # an older kernel: `edgeguard check` says so
                fcntl.fcntl(fd, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
        except BaseException:
            os.close(fd)
            raise
        return made

    def take_lane(self) -> int:
        """The number of a lane that nobody has. Raises ValueError when all are taken."""
        if self._taken == self.lanes:
            raise ValueError(f"all {self.lanes} lanes of this ring are taken")
        self._taken += 1
        return self._taken - 1

    @property
    def input(self) -> Array:
        """Where the next frame is to be written: a slot that is in nobody's hands."""
        if not self._begun:
            self.slot = next(i for i in range(self.lanes + 1) if i not in self.reading)
            self.native.begin(self.slot)
            self._begun = True
        return self.slots[self.slot]

    def publish(self, content: int = 0) -> None:
        """What was written to ``input`` is a frame with this content hash; its number goes up."""
        self.sequence += 1
        self.content = content & 0xFFFFFFFFFFFFFFFF
        self.native.publish(self.slot, self.sequence, self.content)
        self._begun = False

    def ask(self, lane: int) -> None:
        """Have the lane's member read the frame that was published last."""
        self.reading[lane] = self.slot
        self.native.ask(lane, self.slot, self.sequence)

    def close(self) -> None:
        """Give the memory back, as soon as nobody else refers to it; the slots become private."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.native.release()
            self.slots = [slot.copy() for slot in self.slots]


class Answers:
    """The answers of one member: scores and embedding, with what they answer to."""

    def __init__(self, fd: int, card: Card, mine: bool) -> None:
        """Map an existing memory file; ``mine``: to write to it."""
        self.fd = fd
        sizes = _sizes(card)
        access = mmap.PROT_READ | (mmap.PROT_WRITE if mine else 0)
        self.map = mmap.mmap(fd, _isolation.Answers.size(*sizes), prot=access)
        self.native = _isolation.Answers(self.map, *sizes, mine)

    @classmethod
    def create(cls, card: Card) -> Answers:
        """New, empty answers of a model with this card."""
        fd = _file("edgeguard-answers", _isolation.Answers.size(*_sizes(card)))
        try:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS | fcntl.F_SEAL_SEAL)
            return cls(fd, card, mine=False)
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        """Give the memory back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self.native.release()
            self.map.close()


def _file(name: str, size: int) -> int:
    fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _sizes(card: Card) -> tuple[int, int]:
    scores, embedding = (
        output.size * np.dtype(output.dtype).itemsize if output is not None else 0
        for output in (card.scores, card.embedding)
    )
    return scores, embedding
