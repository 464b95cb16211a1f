# SPDX-License-Identifier: Apache-2.0
"""A member whose model runs in a worker process, alone or in a group: the deciding side of it.

Nothing here waits: a request is a word in shared memory and a tick of an eventfd, an answer a copy
of memory that is then checked. Starting, watching and ending the worker is done in a thread of its
own: see ``supervisor``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from edgeguard.errors import ModelRefused
from edgeguard.inference.buffers import Array, embedding_for, fits, scores_for
from edgeguard.inference.members import MemberSpec, Result
from edgeguard.inference.memory import Answers, Frames
from edgeguard.inference.supervisor import Supervisor

_LOOK_S = 0.02  # a waiting driver looks this often whether the worker is still there


class _Request(NamedTuple):
    serial: int
    t_capture_ns: int
    since_ns: int
    t_submit_ns: int


class ChildProcess:
    """A member whose model runs in a worker process. See ``members.Member``.

    The constructor returns at once; ``await_ready`` tells whether the worker passed its self-test.
    One request is in flight at a time; a frame submitted meanwhile is dropped. An answer counts
    only if it names the frame in flight, by number and content hash, and the life of the worker
    that was asked.
    """

    def __init__(self, spec: MemberSpec, alone: bool = True) -> None:
        """alone: in a worker of its own, which is started here; else see ``open_group``."""
        self.name, self.card, self.spec = spec.name, spec.card, spec
        self.scores: Array = scores_for(spec.card)
        self.embedding: Array | None = embedding_for(spec.card)
        shape = spec.card.input.shape
        self.answers = Answers.create(spec.card)
        self._shares = spec.frames is not None
        try:
            self.frames = spec.frames or Frames.create(shape, spec.card.input.dtype, 1)
            self.lane = self.frames.take_lane()
        except BaseException:
            self.answers.close()
            raise
        self._bound: Array | None = None
        self._answer = scores_for(spec.card), embedding_for(spec.card)
        self._flight: _Request | None = None
        self._result: Result | None = None
        self.worker: Supervisor  # which joins itself here
        if alone:
            try:
                Supervisor([self])
            except BaseException:
                self.release()
                raise

    @property
    def alive(self) -> bool:
        """Whether the worker has passed its self-test and can be asked."""
        return self.worker.alive

    @property
    def reason(self) -> str:
        """Why it is not alive, in words."""
        return self.worker.reason

    @property
    def pid(self) -> int | None:
        """Process id of the worker that is alive, else None."""
        return self.worker.pid

    @property
    def provider(self) -> str:
        """What really runs, as the runtime reports it."""
        return self.worker.providers.get(self.name, "")

    @property
    def missing(self) -> tuple[str, ...]:
        """What the kernel could not take from the worker."""
        return self.worker.missing

    @property
    def input(self) -> Array:
        """The bound array, or the slot that no worker is reading."""
        return self._bound if self._bound is not None else self.frames.input

    def bind_input(self, array: Array) -> None:
        """Take the input from ``array``; ``submit`` copies it to the worker's memory."""
        self._bound = fits(array, self.frames.slots[0], "input")

    def bind_scores(self, array: Array) -> None:
        """Have ``poll`` copy the scores to ``array``."""
        self.scores = fits(array, self.scores, "scores")

    def submit(
        self, serial: int, t_capture_ns: int, since_ns: int | None = None,
        accepted: Callable[[], object] = lambda: None,
    ) -> bool:  # fmt: skip
        """Hand the input to the worker. False when it is lost, or still at the last one.

        From a ring that others share, it is the frame that was published last.
        """
        worker = self.worker
        if self._bound is not None and not (self._shares or self._copied(self._bound)):
            return False
        with worker.lock:
            self._receive()
            if not worker.alive or self._flight is not None:
                return False
            frames = self.frames
            if not self._shares:
                frames.input  # noqa: B018 - the slot is begun, if only to publish it as it is
                frames.publish()
            now = self.answers.native.expect(worker.epoch, frames.sequence, frames.content)
            since = now if since_ns is None else since_ns
            self._flight = _Request(serial, t_capture_ns, since, now)
            frames.ask(self.lane)
            accepted()
            worker.wake()
            return True

    def _copied(self, bound: Array) -> bool:
        """Copy it to a slot; not under the lock, for whoever polls is not to wait for that."""
        with self.worker.lock:
            self._receive()
            if not self.worker.alive or self._flight is not None:
                return False
            slot = self.frames.input
        np.copyto(slot, bound)
        return True

    def poll(self) -> Result | None:
        """The newest answer since the last call, its scores copied; never blocks, never raises."""
        if self._flight is None and self._result is None:
            return None
        with self.worker.lock:
            self._receive()
            result, self._result = self._result, None
            if result is not None:
                scores, embedding = self._answer
                np.copyto(self.scores, scores)
                if self.embedding is not None and embedding is not None:
                    np.copyto(self.embedding, embedding)
            return result

    def wait(self, timeout_s: float) -> Result | None:
        """``poll``, waiting up to ``timeout_s`` seconds for the answer to what was submitted."""
        end = time.monotonic() + timeout_s
        while True:
            result = self.poll()
            left = end - time.monotonic()
            if result is not None or self._flight is None or left <= 0:
                return result
            self.worker.listen(min(left, _LOOK_S))

    def _receive(self) -> None:
        """Take the answer if it is there; notice a worker that hangs, or writes nonsense."""
        flight = self._flight
        if flight is None:
            return
        ready_ns = self.answers.native.take(*self._answer)
        if ready_ns > 0:
            took_ns = ready_ns - flight.since_ns
            self._result = Result(flight.serial, flight.t_capture_ns, ready_ns, took_ns)
            self._flight = self.frames.reading[self.lane] = None
        elif ready_ns < 0:
            self.worker.lose("the worker gave an answer that was not asked for")
        elif time.monotonic_ns() - flight.t_submit_ns > self.spec.hang_s * 1e9:
            self.worker.lose(f"no answer for {self.spec.hang_s:g} s")

    def forget(self) -> None:
        """What was asked will not be answered; the caller holds the worker's lock."""
        self._flight = self._result = None
        self.frames.reading[self.lane] = None

    def release(self) -> None:
        """Give the shared memory back; the caller holds the worker's lock."""
        self.answers.close()
        if not self._shares:
            self.frames.close()

    def await_ready(self, timeout_s: float) -> None:
        """Block until the worker has passed its self-test. Raises ModelRefused when it has not."""
        settled = self.worker.await_settled(timeout_s)
        if not self.alive:
            path = self.spec.model_path or self.card.model_path
            reason = self.reason
            if not settled:
                reason = f"not ready after {timeout_s:g} s ({reason})"
            named = any(
                f"{(m.spec.model_path or m.card.model_path).name}: " in reason
                for m in self.worker.members
            )
            raise ModelRefused(reason if named else f"{path}: {reason}")

    def close(self) -> None:
        """End the worker, and with it every member of its group."""
        self.worker.close()


def open_group(specs: Sequence[MemberSpec]) -> list[ChildProcess]:
    """Members that share one worker: one after the other, and lost together. Raises ModelRefused
    when no descriptor or thread is left for them."""
    members: list[ChildProcess] = []
    with contextlib.ExitStack() as undo:
        try:
            for spec in specs:
                members.append(ChildProcess(spec, alone=False))
                undo.callback(members[-1].release)
            Supervisor(members)
        except (OSError, RuntimeError) as error:  # RuntimeError: of a thread
            names = "+".join(spec.name for spec in specs)
            raise ModelRefused(f"{names}: no worker can be started: {error}") from error
        undo.pop_all()
    return members
