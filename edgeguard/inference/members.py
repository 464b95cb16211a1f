# SPDX-License-Identifier: Apache-2.0
"""Members: models that the guard asks, in this process or each in its own, behind one face."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import attrs
import numpy as np

from edgeguard.card import Card
from edgeguard.errors import InferenceError, ModelRefused
from edgeguard.inference.buffers import Array
from edgeguard.inference.golden import self_test
from edgeguard.inference.model import load_model

if TYPE_CHECKING:
    from edgeguard.inference.memory import Frames

ISOLATIONS = ("none", "process")


class Result(NamedTuple):
    """One answer of a member: to which request, from which capture, ready when, after how long.

    Times are nanoseconds: ``t_capture_ns`` as submitted, ``t_ready_ns`` of CLOCK_MONOTONIC,
    ``took_ns`` from ``since_ns`` as submitted, else from submit, to ready: on the wall clock, also
    for streams in simulated time.
    """

    serial: int
    t_capture_ns: int
    t_ready_ns: int
    took_ns: int


class Member(Protocol):
    """One member as the guard uses it; ``submit`` and ``poll`` may be called by two threads."""

    name: str
    card: Card

    @property
    def reason(self) -> str:
        """Why the member is not alive, in words; empty while it is."""

    @property
    def alive(self) -> bool:
        """Whether the member has passed its self-test and can be asked."""

    @property
    def pid(self) -> int | None:
        """The worker's process id; None without one."""

    @property
    def provider(self) -> str:
        """The execution provider or delegate that really runs; empty before the first self-test."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What the kernel could not take from its worker, in words; empty without a worker."""

    @property
    def input(self) -> Array:
        """Where the next input is to be written. Ask anew for each frame: it may change."""

    @property
    def scores(self) -> Array:
        """The raw scores of the last polled result."""

    @property
    def embedding(self) -> Array | None:
        """The embedding of the last polled result, or None."""

    def bind_input(self, array: Array) -> None:
        """Take the input from ``array`` (ValueError if it does not fit); members may share one."""

    def bind_scores(self, array: Array) -> None:
        """Have the scores written to ``array`` by ``poll`` (ValueError if it does not fit)."""

    def submit(
        self, serial: int, t_capture_ns: int, since_ns: int | None = None,
        accepted: Callable[[], object] = lambda: None,
    ) -> bool:  # fmt: skip
        """Hand over the input. False if the member is lost or busy: the input is dropped.

        since_ns: from when on ``took_ns`` counts, CLOCK_MONOTONIC; by default from now on.
        accepted: is called, and must not wait, before anybody can hear the answer.
        """

    def poll(self) -> Result | None:
        """The newest answer since the last call, copied to ``scores``; never blocks or raises."""

    def wait(self, timeout_s: float) -> Result | None:
        """``poll``, but wait for an answer on the way: for drivers of simulated time only."""

    def await_ready(self, timeout_s: float) -> None:
        """Block until the member is alive. Raises ModelRefused when refused or not in time."""

    def close(self) -> None:
        """End the member and what belongs to it."""


@attrs.frozen
class MemberSpec:
    """What a member is made of. ``providers`` are execution providers or delegates; none: the CPU.

    ``process``: members with the same name share one worker. ``frames``: the ring that a member
    reads together with others; by default it has its own. ``hang_s``: a worker that has not
    answered for so long is lost, killed and started anew. ``restarts`` in ``restart_window_s``
    seconds are allowed, the first after ``backoff_s``, each further one after twice the time; then
    the member is in quarantine until it is opened anew. ``event`` is told, from any thread, of
    "sandbox_violation" (a worker tried what is refused to it) and of "refused_file" (a model that
    was admitted before is not any more).
    """

    name: str
    card: Card
    model_path: Path | None = None
    runtime: str | None = None
    providers: tuple[str, ...] = ()
    isolation: str = "none"
    process: str | None = None
    frames: Frames | None = None
    hang_s: float = 2.0
    restarts: int = 5
    restart_window_s: float = 3600.0
    backoff_s: float = 0.1
    start_timeout_s: float = 60.0
    event: Callable[[str], object] = attrs.field(default=lambda name: None, eq=False)


class RestartBudget:
    """At most so many restarts in a sliding window, each after a longer pause than the last."""

    def __init__(self, spec: MemberSpec) -> None:
        self._limit, self._window, self._backoff = (
            spec.restarts, spec.restart_window_s, spec.backoff_s,
        )  # fmt: skip
        self._used: list[float] = []

    def delay(self, now: float) -> float:
        """Seconds from ``now`` to the next start, which is thereby spent; inf when none is left."""
        self._used = [t for t in self._used if t > now - self._window]
        if len(self._used) >= self._limit:
            return float("inf")
        pause = self._backoff * float(2 ** len(self._used))
        self._used.append(now + pause)
        return pause

    def __str__(self) -> str:
        return f"{self._limit} restarts in {self._window:g} s are used up"


class InProcess:
    """A member in the deciding process: ``submit`` runs the model. See ``Member``.

    A runtime that raises makes the member lost; a later ``submit`` within the restart budget runs
    the self-test again and re-admits it.
    """

    pid = None
    missing: tuple[str, ...] = ()

    def __init__(self, spec: MemberSpec, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """Load the model and test it. Raises ModelRefused."""
        self.name, self.card = spec.name, spec.card
        self._model = load_model(spec.card, spec.model_path, spec.runtime, spec.providers)
        self._budget, self._clock, self._event = RestartBudget(spec), clock, spec.event
        self._result: Result | None = None
        self._retry_at = float("inf")
        self.alive, self.reason = True, ""

    @property
    def provider(self) -> str:
        """What really runs, as the runtime reports it."""
        return self._model.provider

    @property
    def input(self) -> Array:
        """The model's own bound input: nothing is copied."""
        return self._model.input

    @property
    def scores(self) -> Array:
        """The model's own bound scores."""
        return self._model.scores

    @property
    def embedding(self) -> Array | None:
        """The model's own bound embedding."""
        return self._model.embedding

    def bind_input(self, array: Array) -> None:
        """Take the input from ``array``; ONNX Runtime reads it there, LiteRT copies it."""
        self._model.bind_input(array)

    def bind_scores(self, array: Array) -> None:
        """Write the scores to ``array``."""
        self._model.bind_scores(array)

    def submit(
        self, serial: int, t_capture_ns: int, since_ns: int | None = None,
        accepted: Callable[[], object] = lambda: None,
    ) -> bool:  # fmt: skip
        """Run the model on its input, here and now. False when the member is lost."""
        start = self._clock() if since_ns is None else since_ns
        took = self.run(start)
        if took is None:
            return False
        accepted()
        self._result = Result(serial, t_capture_ns, start + took, took)
        return True

    def run(self, origin_ns: int) -> int | None:
        """``submit`` and ``poll`` in one, for a loop that counts every call.

        Returns when the scores were ready, in nanoseconds since ``origin_ns`` of CLOCK_MONOTONIC,
        or None when the member is lost; the scores are where they were bound.
        """
        if not self.alive and not self._readmit():
            return None
        try:
            self._model.run()
        except InferenceError as error:
            self._lose(str(error))
            return None
        return self._clock() - origin_ns

    def poll(self) -> Result | None:
        """The answer of the last ``submit``, once."""
        result, self._result = self._result, None
        return result

    def wait(self, timeout_s: float) -> Result | None:
        """The same as ``poll``: there is nothing to wait for."""
        return self.poll()

    def await_ready(self, timeout_s: float) -> None:
        """Raise ModelRefused if the member is lost."""
        if not self.alive and not self._readmit():
            raise ModelRefused(f"{self._model.path}: {self.reason}")

    def close(self) -> None:
        """Release the model."""
        self.alive, self.reason = False, "closed"
        self._retry_at = float("inf")
        self._model.close()

    def _lose(self, reason: str) -> None:
        self.alive, self.reason, self._result = False, reason, None
        now = self._clock() / 1e9
        self._retry_at = now + self._budget.delay(now)

    def _readmit(self) -> bool:
        if self._clock() / 1e9 < self._retry_at:
            return False
        waiting = self._model.input.copy()  # the self-test runs through the same buffer
        try:
            self_test(self._model)
        except ModelRefused as error:
            if str(error) != self.reason:
                self._event("refused_file")
            self._lose(str(error))
            return False
        finally:
            np.copyto(self._model.input, waiting)
        self.alive, self.reason = True, ""
        return True


def open_members(specs: Sequence[MemberSpec]) -> list[Member]:
    """Open all members, workers side by side, and wait until each has passed its self-test.

    Raises ModelRefused for the first that does not, with nothing left running.
    """
    opened: dict[str, Member] = {}
    try:
        for group in _groups(specs):
            if group[0].isolation == "process":
                from edgeguard.inference.child import open_group

                members: Sequence[Member] = open_group(group)
            else:
                members = [InProcess(spec) for spec in group]
            opened |= zip([spec.name for spec in group], members, strict=True)
        for spec in specs:
            opened[spec.name].await_ready(spec.start_timeout_s)
    except BaseException:  # descriptors may run out, too
        for member in opened.values():
            member.close()
        raise
    return [opened[spec.name] for spec in specs]


def _groups(specs: Sequence[MemberSpec]) -> list[list[MemberSpec]]:
    """Members that share a process, together; all others alone. Raises ModelRefused."""
    groups: dict[tuple[str, str], list[MemberSpec]] = {}
    for spec in specs:
        if spec.isolation not in ISOLATIONS:
            raise ModelRefused(
                f"{spec.name}: isolation: {spec.isolation!r} is not one of {ISOLATIONS}"
            )
        key = ("group", spec.process) if spec.process else ("alone", spec.name)
        groups.setdefault(key, []).append(spec)
    return list(groups.values())
