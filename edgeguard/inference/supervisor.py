# SPDX-License-Identifier: Apache-2.0
"""A worker process from its start to its end, over and over, within a budget.

A thread of its own starts the worker, hears whether it passed the self-test of all its members,
waits for its end and starts it anew. What the deciding thread calls never waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeguard import aside, sandbox
from edgeguard.inference.members import RestartBudget
from edgeguard.sandbox import printable

if TYPE_CHECKING:
    from edgeguard.inference.child import ChildProcess

_HELLO_BYTES = 65536
_GONE = "the worker ended"
_PROGRAM = sandbox.program("edgeguard.inference.worker")


class Supervisor:
    """One worker for one member or a group of them."""

    def __init__(self, members: Sequence[ChildProcess]) -> None:
        """Start the first worker; returns at once."""
        self.members = tuple(members)
        self.lock = threading.Lock()  # held for what does not wait; guards state and memory
        self.alive, self.reason = False, "starting"
        self.pid: int | None = None
        self.epoch = 0  # goes up with each worker: an answer of a former one is nobody's
        self.providers: dict[str, str] = {}
        self.missing: tuple[str, ...] = ()
        first = self.members[0].spec
        self._event, self._admitted_once = first.event, False
        self._told: set[str] = set()  # refusals that were an event
        self._start_timeout_s = first.start_timeout_s
        self._budget = RestartBudget(first)
        self._settled = threading.Event()  # alive, or not to be waited for any longer
        self._closing = threading.Event()
        self._ended = False  # the thread has done its last
        self._process: sandbox.Process | None = None
        for member in self.members:
            member.worker = self
        self._names = "+".join(member.name for member in self.members)
        self._thread = threading.Thread(
            target=self._supervise, name=f"edgeguard-{self._names}", daemon=True
        )
        with contextlib.ExitStack() as undo:
            # Neither can make us wait: a worker cannot undo EFD_NONBLOCK.
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._wake)
            self._done = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            undo.callback(os.close, self._done)
            self._thread.start()
            undo.pop_all()

    # --- the deciding side: nothing here waits but ``listen`` ---

    def wake(self) -> None:
        """Tell the worker that there is something to do."""
        with contextlib.suppress(BlockingIOError):  # full: it has been told often enough
            os.eventfd_write(self._wake, 1)

    def listen(self, timeout_s: float) -> None:
        """Wait until the worker has answered something, for drivers of simulated time."""
        waiting = select.poll()
        with contextlib.suppress(OSError, ValueError):  # closed: nothing to wait for
            waiting.register(self._done, select.POLLIN)
            waiting.poll(timeout_s * 1000)
            os.eventfd_read(self._done)

    def lose(self, reason: str) -> None:
        """All members abstain from here on; the caller holds the lock, the thread does the rest."""
        self.alive, self.reason, self.pid = False, reason, None
        for member in self.members:
            member.forget()
        self._settled.clear()
        if self._process is not None:
            self._process.kill()

    # --- the supervising side ---

    def await_settled(self, timeout_s: float) -> bool:
        """Block until the worker is admitted or given up; whether that was in time."""
        return self._settled.wait(timeout_s)

    def close(self) -> None:
        """End the worker and the thread."""
        self._closing.set()
        with self.lock:
            process = self._process
            self.alive, self.reason, self.pid = False, "closed", None
            for member in self.members:
                member.forget()
            if process is not None:
                process.kill()  # it has nothing to save
        self._thread.join(2.0)
        with self.lock:
            if self._ended:  # else the thread does it as its last
                self._release()

    def _release(self) -> None:
        if self._wake >= 0:
            os.close(self._wake)
            os.close(self._done)
            self._wake = self._done = -1
        for member in self.members:
            member.release()

    def _supervise(self) -> None:
        """Start the worker, await its end, start it anew; end when closed, refused or given up."""
        try:
            self._keep_running()
        finally:
            with self.lock:
                self._ended = True
                if self._closing.is_set():
                    self._release()

    def _keep_running(self) -> None:
        admitted = self._run_once()
        while admitted and not self._closing.is_set():
            pause_s = self._budget.delay(time.monotonic())
            if pause_s == float("inf"):
                break
            self._closing.wait(pause_s)
            if not self._closing.is_set():
                self._run_once()
        with self.lock:
            if admitted and not self._closing.is_set():
                self.reason += f"; quarantined: {self._budget}"
            self._settled.set()
        if admitted and not self._closing.is_set():
            aside.warn(f"{self._names}: {self.reason}")

    def _run_once(self) -> bool:
        """One worker from start to end; whether it was admitted."""
        self.epoch += 1
        try:
            process, hearing = self._start()
        except (OSError, ValueError) as error:  # ValueError: the memory is gone, we are closing
            self.reason = f"the worker cannot be started: {error}"
            if self._admitted_once and not self._closing.is_set():
                aside.warn(f"{self._names}: {self.reason}")
            return False
        with self.lock:
            self._process = process
            if self._closing.is_set():
                process.kill()
        with os.fdopen(hearing, "rb", buffering=0) as ear:
            heard = _Ear(ear.fileno(), self._closing)
            hello, opening = self._greeted(heard)
            admitted = "providers" in hello and self._admit(hello)
            if not admitted:
                process.kill()
            code = process.wait()
            last = heard.line() if admitted else {}
        refused = _text(hello, "refused")
        died = f"the worker was ended by {sandbox.ending(code)}"
        doing = "loaded the model" if opening else "started"
        reason = (
            _text(last, "failed") or died if admitted else refused or f"{died} while it {doing}"
        )
        if not admitted and opening is not None and opening.name not in reason:
            reason = f"{opening}: {reason}"
        self._note_end(admitted, reason)  # first of all: nothing that is told may hold this up
        if sandbox.violated(code) or True in (hello.get("denied"), last.get("denied")):
            self._event("sandbox_violation")
        elif refused and refused not in self._told and self._admitted_once:
            self._told.add(refused)
            self._event("refused_file")  # a first refusal is for whoever opens the member
        self._admitted_once |= admitted
        if self._admitted_once and not self._closing.is_set():
            aside.warn(f"{self._names}: {reason}")
        return admitted

    def _note_end(self, admitted: bool, reason: str) -> None:
        """Of a worker whose end nobody wanted, why; who killed it has said so."""
        with self.lock:
            self._process = None
            if self.alive:
                self.lose(_GONE)
            wanted = self._closing.is_set()
            if self.reason == _GONE or (not admitted and not wanted):
                self.reason = reason

    def _greeted(self, heard: _Ear) -> tuple[dict[str, Any], Path | None]:
        """What it says when it is ready or refuses, a refusal when it is too late; and which file
        it was opening. Of what it says of that only the number is believed."""
        end_s, opening = time.monotonic() + self._start_timeout_s, None
        files = [member.spec.model_path or member.card.model_path for member in self.members]
        try:
            said = heard.line(end_s)
            while "opens" in said and files:
                opening, said = files.pop(0), heard.line(end_s)
        except TimeoutError:
            said = {"refused": f"the worker was not ready after {self._start_timeout_s:g} s"}
        return said, opening

    def _admit(self, hello: dict[str, Any]) -> bool:
        """Believe nothing of the form of what a worker says of itself."""
        providers, missing = hello["providers"], hello.get("missing")
        named: dict[str, str] = {}
        if isinstance(providers, dict):
            named = {printable(k, 100): printable(v, 100) for k, v in providers.items()}
        lacking = tuple(printable(m, 200) for m in missing) if isinstance(missing, list) else ()
        with self.lock:  # for no longer than it takes: who decides may want it
            if self._closing.is_set():
                return False
            before, self.missing, self.providers = self.missing, lacking, named
            self.pid = self._process.pid if self._process is not None else None
            self.alive, self.reason = True, ""
            self._settled.set()
        unusual = sandbox.surprising(lacking)
        if unusual and lacking != before:  # not again after every restart
            aside.warn(f"{self._names}: not wholly confined: {'; '.join(unusual)[:1000]}")
        if self._admitted_once:
            aside.warn(f"{self._names}: is back, after its self-test")
        return True

    def _start(self) -> tuple[sandbox.Process, int]:
        with contextlib.suppress(BlockingIOError):  # what a former worker was told
            os.eventfd_read(self._wake)
        kept = {m.frames.fd for m in self.members} | {m.answers.fd for m in self.members}
        with contextlib.ExitStack() as given:  # what is the worker's alone from then on
            spec = self._spec_file()
            given.callback(os.close, spec)
            ear, mouth = os.pipe2(os.O_CLOEXEC)
            given.callback(os.close, mouth)
            options = {"mouth": mouth, "wake": self._wake, "done": self._done, "spec": spec}
            try:
                return sandbox.start(_PROGRAM, options, (*options.values(), *kept)), ear
            except (OSError, ValueError):
                os.close(ear)
                raise

    def _spec_file(self) -> int:
        """What the worker has to load, as JSON in a memory file; the caller closes it."""
        content = {"epoch": self.epoch, "members": [_spec(member) for member in self.members]}
        fd = os.memfd_create("edgeguard-spec", os.MFD_CLOEXEC)
        try:
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(json.dumps(content).encode())
        except OSError:
            os.close(fd)
            raise
        return fd


class _Ear:
    """What a worker says, line by line; that may be anything."""

    def __init__(self, fd: int, closing: threading.Event) -> None:
        self._fd, self._closing, self._text = fd, closing, b""

    def line(self, end_s: float | None = None) -> dict[str, Any]:
        """The next one, {} when it ends without one. end_s: until when to wait for it
        (CLOCK_MONOTONIC), by default not at all. Raises TimeoutError when it is not there then."""
        waiting = select.poll()
        waiting.register(self._fd, select.POLLIN)
        while not self._closing.is_set() and b"\n" not in self._text:
            if end_s is not None and time.monotonic() > end_s:
                raise TimeoutError
            if waiting.poll(0 if end_s is None else 100):
                more = os.read(self._fd, _HELLO_BYTES)
                self._text += more
                if not more or len(self._text) > _HELLO_BYTES:
                    return {}
            elif end_s is None:
                return {}
        text, _, self._text = self._text.partition(b"\n")
        try:
            line = json.loads(text or b"{}")
        except (ValueError, RecursionError):
            return {}
        return line if isinstance(line, dict) else {}


def _text(said: dict[str, Any], key: str) -> str:
    """What a worker says of itself, of whatever type it is."""
    return printable(said.get(key) or "", 4000)


def _spec(member: ChildProcess) -> dict[str, Any]:
    spec, card = member.spec, member.card
    return {
        "name": member.name,
        "card": card.to_dict() | {"labels": list(card.labels)},
        "directory": str(card.directory.absolute()),
        "model_path": str((spec.model_path or card.model_path).absolute()),
        "runtime": spec.runtime, "providers": spec.providers,
        "frames": member.frames.fd, "lanes": member.frames.lanes, "lane": member.lane,
        "answers": member.answers.fd,
    }  # fmt: skip
