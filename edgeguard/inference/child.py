# SPDX-License-Identifier: Apache-2.0
"""A member in its own plain process: it may crash, hang or be killed, and takes nothing with it.

The deciding thread only sends, receives and copies, without blocking. A thread of its own starts
the worker, waits for its self-test and its end, and starts it anew within the budget.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import edgeguard.inference
from edgeguard.card import Card
from edgeguard.errors import ModelRefused
from edgeguard.inference.buffers import Array, embedding_for, fits, scores_for
from edgeguard.inference.members import MemberSpec, RestartBudget, Result
from edgeguard.inference.memory import SLOTS, SlotMemory
from edgeguard.inference.worker import FAILED, LONGEST, REPLY, REQUEST

_HELLO_BYTES = 8192
_GONE = "the worker ended"
# -c puts the working directory first on the path: gone before anything is imported from it.
_PROGRAM = (
    "import sys; sys.path[:] = [p for p in sys.path if p]; import json; "
    "o = json.loads(sys.argv[1]); sys.path[:] = o['path']; "
    "from edgeguard.inference.worker import main; sys.exit(main(o))"
)
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_DEBUG = "EDGEGUARD_DEBUG"  # any value: workers write to our stderr


class _Worker(NamedTuple):
    process: subprocess.Popen[bytes]
    channel: socket.socket
    waiting: select.poll  # an empty look costs a tenth of an exception; never for two threads


class _Request(NamedTuple):
    serial: int
    slot: int
    t_capture_ns: int
    t_entered_ns: int
    t_submit_ns: int


class ChildProcess:
    """A member whose model runs in a child process. See ``members.Member``.

    The constructor returns at once; ``await_ready`` tells whether the worker passed its self-test.
    One request is in flight at a time; a frame submitted meanwhile is dropped. Only an answer with
    the serial of the request in flight counts.
    """

    def __init__(self, spec: MemberSpec) -> None:
        self.name, self.card, self.reason = spec.name, spec.card, "starting"
        self.alive = False
        self.provider = ""
        self.scores: Array = scores_for(spec.card)
        self.embedding: Array | None = embedding_for(spec.card)
        self._spec, self._budget = spec, RestartBudget(spec)
        self._memory = SlotMemory.create(spec.card)
        self._bound: Array | None = None
        self._slot = 0
        self._flight: _Request | None = None
        self._result: tuple[Result, int] | None = None
        self._reply = bytearray(LONGEST)
        # Guards worker, flight, result and the end of the memory; held for non-blocking work only.
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self._starting: _Worker | None = None
        self._settled = threading.Event()  # alive, or refused at the first start
        self._closing = threading.Event()
        self._ended = False  # the supervising thread has done its last
        self._thread = threading.Thread(
            target=self._supervise, name=f"edgeguard-{spec.name}", daemon=True
        )
        self._thread.start()

    # --- the deciding side: nothing here blocks ---

    @property
    def pid(self) -> int | None:
        """Process id of the worker that is alive, else None."""
        worker = self._worker
        return worker.process.pid if worker is not None else None

    @property
    def input(self) -> Array:
        """The bound array, or the slot that the worker is not reading."""
        return self._bound if self._bound is not None else self._memory.inputs[self._slot]

    def bind_input(self, array: Array) -> None:
        """Take the input from ``array``; ``submit`` copies it to the worker's memory."""
        self._bound = fits(array, self._memory.inputs[0], "input")

    def bind_scores(self, array: Array) -> None:
        """Have ``poll`` copy the scores to ``array``."""
        self.scores = fits(array, self.scores, "scores")

    def submit(self, serial: int, t_capture_ns: int, entered_ns: int | None = None) -> bool:
        """Hand the input to the worker. False when it is lost, or still at the last one."""
        with self._lock:
            self._receive()
            worker = self._worker
            if worker is None or self._flight is not None:
                return False
            if self._bound is not None:
                np.copyto(self._memory.inputs[self._slot], self._bound)
            now = time.monotonic_ns()  # before: the woken worker may well run first
            try:
                worker.channel.send(REQUEST.pack(serial, self._slot))
            except OSError as error:
                self._lose(f"the worker cannot be reached: {error.strerror}")
                return False
            entered = now if entered_ns is None else entered_ns
            self._flight = _Request(serial, self._slot, t_capture_ns, entered, now)
            self._slot = (self._slot + 1) % SLOTS
            return True

    def poll(self) -> Result | None:
        """The newest answer since the last call, its scores copied; never blocks, never raises."""
        with self._lock:
            self._receive()
            if self._result is None:
                return None
            (result, slot), self._result = self._result, None
            np.copyto(self.scores, self._memory.scores[slot])
            if self.embedding is not None:
                np.copyto(self.embedding, self._memory.embeddings[slot])
            return result

    def wait(self, timeout_s: float) -> Result | None:
        """``poll``, waiting up to ``timeout_s`` seconds for the answer to what was submitted."""
        end = time.monotonic() + timeout_s
        while True:
            result = self.poll()
            worker, left = self._worker, end - time.monotonic()
            if result is not None or worker is None or self._flight is None or left <= 0:
                return result
            _listen(worker, min(left, 0.1))

    def _receive(self) -> None:
        """Take what the worker has sent; notice that it is gone, hung, or talks nonsense."""
        worker, flight = self._worker, self._flight
        if worker is None or flight is None:
            return
        if not worker.waiting.poll(0):
            if time.monotonic_ns() - flight.t_submit_ns > self._spec.hang_s * 1e9:
                self._lose(f"no answer for {self._spec.hang_s:g} s")
            return
        try:
            count = worker.channel.recv_into(self._reply)
        except OSError as error:
            self._lose(f"the worker cannot be reached: {error.strerror}")
            return
        if count == 0:
            self._lose(_GONE)
        elif count == REPLY.size and self._accept(*REPLY.unpack_from(self._reply)):
            pass
        elif count > REPLY.size and REPLY.unpack_from(self._reply) == (flight.serial, FAILED, 0):
            self._lose(self._reply[REPLY.size : count].decode(errors="replace"))
        else:
            self._lose("the worker gave an answer that was not asked for")

    def _accept(self, serial: int, slot: int, t_ready_ns: int) -> bool:
        flight = self._flight
        if flight is None or (serial, slot) != (flight.serial, flight.slot):
            return False
        ready = min(max(t_ready_ns, flight.t_submit_ns), time.monotonic_ns())
        result = Result(serial, flight.t_capture_ns, ready, ready - flight.t_entered_ns)
        self._flight, self._result = None, (result, slot)
        return True

    def _lose(self, reason: str) -> None:
        """The member abstains from here on; its thread sees the worker off and starts the next."""
        worker, self._worker = self._worker, None
        self.alive, self.reason = False, reason
        self._flight = self._result = None
        self._settled.clear()
        if worker is not None:
            _kill(worker.process)

    # --- the supervising side: its own thread ---

    def await_ready(self, timeout_s: float) -> None:
        """Block until the worker has passed its self-test. Raises ModelRefused when it has not."""
        self._settled.wait(timeout_s)
        if not self.alive:
            path = self._spec.model_path or self.card.model_path
            reason = self.reason
            if not self._settled.is_set():
                reason = f"not ready after {timeout_s:g} s ({reason})"
            raise ModelRefused(reason if f"{path.name}: " in reason else f"{path}: {reason}")

    def close(self) -> None:
        """End the worker and the thread; the worker is killed if it does not go by itself."""
        self._closing.set()
        with self._lock:
            worker = self._worker or self._starting
            self.alive, self.reason, self._worker = False, "closed", None
            self._flight = self._result = None
            if worker is not None:
                with contextlib.suppress(OSError):
                    worker.channel.shutdown(socket.SHUT_RDWR)
        self._thread.join(0.5)
        if worker is not None:
            _kill(worker.process)
        self._thread.join(2.0)
        with self._lock:
            if self._ended:  # else the thread does it as its last
                self._memory.close()

    def _supervise(self) -> None:
        """Start the worker, await its end, start it anew; end when closed or refused at first."""
        try:
            self._keep_running()
        finally:
            with self._lock:
                self._ended = True
                if self._closing.is_set():
                    self._memory.close()

    def _keep_running(self) -> None:
        first = True
        while not self._closing.is_set():
            admitted = self._run_once()
            if first and not admitted:
                with self._lock:
                    self._settled.set()
                return
            first = False
            self._closing.wait(min(self._budget.delay(time.monotonic()), threading.TIMEOUT_MAX))

    def _run_once(self) -> bool:
        """One worker from start to end; whether it was admitted."""
        try:
            worker = self._starting = self._start()
        except OSError as error:
            self.reason = f"the worker cannot be started: {error}"
            return False
        hello = self._hello(worker)
        admitted = "provider" in hello and self._admit(worker, hello)
        if not admitted:
            _kill(worker.process)
        code = worker.process.wait()
        with self._lock:
            self._receive()  # its last words
            if self._worker is worker:
                self._lose(_GONE)
            if self.reason == _GONE:
                self.reason = f"the worker was ended by {_ending(code)}"
            self._starting = None
            worker.channel.close()
        if not admitted and not self._closing.is_set():
            self.reason = (
                hello.get("refused")
                or f"the worker was ended by {_ending(code)} while it loaded the model"
            )
        return admitted

    def _admit(self, worker: _Worker, hello: dict[str, Any]) -> bool:
        with self._lock:
            if self._closing.is_set():
                return False
            self.provider = str(hello["provider"])[:100]
            worker.channel.setblocking(False)
            self._worker, self._flight, self._result = worker, None, None
            self.alive, self.reason = True, ""
            self._settled.set()
        return True

    def _start(self) -> _Worker:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        spec = _spec_file(self._spec)
        options = {
            "path": _path(), "parent": os.getpid(), "socket": theirs.fileno(),
            "memory": self._memory.fd, "spec": spec,
        }  # fmt: skip
        quiet = None if os.environ.get(_DEBUG) else subprocess.DEVNULL
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(options)],
                stdin=subprocess.DEVNULL, stdout=quiet, stderr=quiet,
                pass_fds=(theirs.fileno(), self._memory.fd, spec), env=os.environ | _ONE_THREAD,
            )  # fmt: skip
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(spec)
        waiting = select.poll()
        waiting.register(ours, select.POLLIN)
        return _Worker(process, ours, waiting)

    def _hello(self, worker: _Worker) -> dict[str, Any]:
        """The worker's first message; {} when it ends without one, a refusal when it is late."""
        end = time.monotonic() + self._spec.start_timeout_s
        while not self._closing.is_set():
            if time.monotonic() > end:
                return {
                    "refused": f"the worker was not ready after {self._spec.start_timeout_s:g} s"
                }
            if not worker.waiting.poll(100):
                continue
            try:
                hello = json.loads(worker.channel.recv(_HELLO_BYTES) or b"{}")
            except (OSError, ValueError, RecursionError):
                return {}
            return hello if isinstance(hello, dict) else {}
        return {}


def _listen(worker: _Worker, seconds: float) -> None:
    """Wait for a message, beside another thread that may look for it or close the channel."""
    waiting = select.poll()
    with contextlib.suppress(ValueError):  # closed: nothing to wait for
        waiting.register(worker.channel, select.POLLIN)
        waiting.poll(seconds * 1000)


def _path() -> list[str]:
    """Our import path without the working directory, and this very package on it.

    The standard library stays before all installed packages.
    """
    path = [entry for entry in sys.path if entry]
    root = str(Path(edgeguard.inference.__file__).parents[2])
    if root not in path:
        packages = sysconfig.get_path("purelib")
        path.insert(path.index(packages) if packages in path else len(path), root)
    return path


def _spec_file(spec: MemberSpec) -> int:
    """What the worker has to load, as JSON in a memory file; the caller closes the descriptor."""
    card: Card = spec.card
    content = {
        "card": card.to_dict() | {"labels": list(card.labels)},
        "directory": str(card.directory.absolute()),
        "model_path": str((spec.model_path or card.model_path).absolute()),
        "runtime": spec.runtime, "providers": spec.providers,
    }  # fmt: skip
    fd = os.memfd_create("edgeguard-spec", os.MFD_CLOEXEC)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(json.dumps(content).encode())
    return fd


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _ending(code: int) -> str:
    if code >= 0:
        return f"itself with exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
