# SPDX-License-Identifier: Apache-2.0
"""A case whose members are real models in real, confined processes, on the clock where it counts.

It drives ahead of the clock, waiting for the workers, until a fault begins; from then on a tick is
a tick of CLOCK_MONOTONIC, until all workers are back.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from attrs import define, evolve, field

from edgeguard._core import Decision, Mode
from edgeguard.guard import Guard
from edgeguard.inference import supervisor
from edgeguard.inference.supervisor import Supervisor
from edgeguard.loop import realtime
from edgeguard.streams.campaign import strange
from edgeguard.streams.campaign.case import MS, TOKEN, Case
from edgeguard.streams.campaign.puppets import no_quorum
from edgeguard.streams.campaign.road import ANSWER_S, U8, Road

SWITCH_S = 0.001  # as in `edgeguard run`: the tick does not wait for a thread that computes
BACK_S = 90.0  # for a worker to come back: a minute is what it may take to start
PATIENCE_US = 1.0  # with the time that is measured: a busy machine may be given more
_ORDINARY = supervisor._PROGRAM


@define(slots=False)
class LiveCase(Case):
    """A Case with workers. Signs change only after the fault has begun, so that the command is at
    the limit by then, and any answer that is not of this frame would be followed beyond it."""

    road: Road = field(kw_only=True)
    feed: Callable[[], U8 | None] | None = None
    """What the cameras see instead; None of it: nothing."""
    live: bool = False
    late_us: float | None = None
    """By how much the machine let the tick begin too late at most, while it kept to the clock."""
    missed: int = 0
    """Deadlines that had passed when the tick before them was done, and were skipped."""
    longest_us: float = 0.0
    """What the guard took at most for a frame and a decision in one tick."""
    hidden_us: float = 0.0
    """How late a tick began at most until the fault had ended."""
    held_us: float = 0.0
    """That, less what this very tick began too late."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.means = evolve(self.means, labels=self.road.labels)
        self._offset_ns = self._deadline_ns = 0
        self._late_now_us = self._spent_us = 0.0
        self._deaths: Deaths | None = None
        self._ended = False
        self._switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)

    def _open(self) -> Guard:
        """In one process, in pairs, or alone."""
        supervisor._PROGRAM = strange.program(self.road.labels[-1][0])
        most = self.rng.randint(1, len(self.config.members))
        members = {
            name: evolve(m, isolation="process", process=f"p{n % most}")
            for n, (name, m) in enumerate(self.runs.members.items())
        }
        return Guard(evolve(self.runs, members=members), TOKEN)

    def close(self) -> None:
        """End the guard and its workers."""
        self._let_go()
        super().close()
        sys.setswitchinterval(self._switch_s)
        supervisor._PROGRAM = _ORDINARY

    def _more(self) -> dict[str, Any]:
        if self.late_us is None:
            return {}
        return {"j": round(self.late_us), "m": self.missed, "d": round(self.longest_us)}

    # ----------------------------------------------------------------- time

    @property
    def clock_ms(self) -> float:
        """The real time, where it is kept to."""
        return (time.monotonic_ns() + self._offset_ns) / MS if self.live else self.now_ms

    def keep_time(self) -> None:
        """From now on a tick is a tick of the clock, with the priority of `run --realtime`."""
        gc.disable()
        realtime._first_in_first_out()
        self._deadline_ns = time.monotonic_ns()
        self._offset_ns = self.now_ns - self._deadline_ns
        self.live, self.late_us, self._spent_us = True, 0.0, 0.0

    @property
    def disturbed(self) -> bool:
        """A tick began a control period too late, or more: that may hide what the guard did."""
        return self.hidden_us > self.period_ms * 1000 + PATIENCE_US

    def _let_go(self) -> None:
        """Drive ahead of the clock again."""
        if self.live and self.held_us > self.period_ms * 1000 + PATIENCE_US:
            self.wrong(f"the guard holds a tick up for {self.held_us / 1000:.0f} ms")
        self.live = False
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        gc.enable()

    def _tick(self) -> None:
        if not self.live:
            super()._tick()
            return
        period_ns = int(self.period_ms * MS)
        due_ns = self._deadline_ns + period_ns
        passed = max(0, (time.monotonic_ns() - self._deadline_ns) // period_ns)
        self._deadline_ns += max(1, passed) * period_ns
        self.missed += max(0, passed - 1)
        realtime.sleep_until(self._deadline_ns)
        now_ns = time.monotonic_ns()
        own_us = self._spent_us if passed else 0.0
        self._late_now_us = max(0.0, (now_ns - due_ns) / 1000 - own_us)
        self.late_us = max(self.late_us or 0.0, self._late_now_us)
        if not self._ended:
            self.hidden_us = max(self.hidden_us, self._late_now_us)
        self.now_ns = now_ns + self._offset_ns
        self._spent_us = 0.0

    def turn(self) -> Decision:
        """As `Case.turn`; what the guard takes for it is measured on the clock."""
        made = super().turn()
        if self.live:
            self.longest_us = max(self.longest_us, self._spent_us)
            self.held_us = max(self.held_us, self._spent_us - self._late_now_us)
        return made

    def _decide(self, given: dict[str, Any]) -> Decision:
        start_ns = time.monotonic_ns()
        made = super()._decide(given)
        self._spent_us += (time.monotonic_ns() - start_ns) / 1000
        return made

    def _slack_us(self) -> float:
        """A tick is excused by its own lateness and no other's."""
        return self._late_now_us + PATIENCE_US

    # ---------------------------------------------------------------- drive

    def _set_out(self) -> None:
        """At the limit."""
        super()._set_out()
        self.car.speed = self.judge.top

    def _drive_on(self) -> None:
        """Until the command is at the limit."""
        self._settle()
        self.go(self.rng.uniform(1, 2) * self.frame_ms)

    def _look(self) -> None:
        """All cameras see the same. Ahead of the clock the workers are waited for."""
        picture = self.road.frame(self._sign, self.rng) if self.feed is None else self.feed()
        if picture is None:
            return
        start_ns = time.monotonic_ns()
        for camera in self.config.cameras:
            with contextlib.suppress(TypeError, ValueError):  # as in a loop: no frame then
                self.guard.observe(camera, picture, self.stamp(self.now_ns))
        self._spent_us += (time.monotonic_ns() - start_ns) / 1000
        if not self.live:
            self.guard.wait(ANSWER_S)

    def begin(
        self, kind: str, must_be_named: bool = False, causes: frozenset[str] | None = None,
        on_clock: bool = True,
    ) -> None:  # fmt: skip
        """On the clock the fault comes at a random moment of a frame and of a tick."""
        if on_clock:
            self.keep_time()
            self.go(self.rng.uniform(0, 1.5) * self.frame_ms)
            time.sleep(self.rng.random() * self.period_ms / 1000)
            if self.mode >= Mode.FALLBACK:
                self.trips_falsely("before the fault, on the clock")
        super().begin(kind, must_be_named, causes)
        self._next_sign_ms = self.now_ms + self.rng.uniform(100, 1000)

    def end(self) -> None:
        """As `Case.end`."""
        super().end()
        self.feed, self._ended = None, True

    def _causes(self) -> set[str]:
        """Those that act: a sign that one member reads a tick before the others is no cause yet."""
        return set(self.decision.causes)

    def count_from(self, deaths: Deaths) -> None:
        """From the last of them on times count, which is what the guard can know."""
        self._deaths = deaths
        realtime._first_in_first_out()  # its thread, too

    def _name(self, new: set[str]) -> None:
        """As `Case._name`. A death has one name, and a bound for it; before, a process that does
        not die quickly may have another."""
        if self._deaths is None:
            super()._name(new)
            return
        since_us = (self.clock_ms - self._evidence_ms()) * 1000
        late = since_us > self.bounds["MEMBER_LOST"].constant_ms * 1000 + self._slack_us()
        if "MEMBER_LOST" in new or late:
            self.named = not late

    def _evidence_ms(self) -> float:
        if self._deaths is None:
            return super()._evidence_ms()
        last_ns = self._deaths.last_ns
        return self.clock_ms if last_ns is None else (last_ns + self._offset_ns) / MS

    def recover(self, ms: float = 15_000.0) -> None:
        """On the clock until all workers are back, then ahead of it."""
        end_s = time.monotonic() + BACK_S
        gone_ms = self.now_ms
        while not self.all_back() and time.monotonic() < end_s:
            self.turn()
        for worker in self.workers():
            if not worker.alive:
                self.wrong(f"{worker.members[0].name} does not come back: {worker.reason}")
        back_ms = self.now_ms - gone_ms
        self._let_go()
        super().recover(ms)
        if self.recovered_ms is not None:
            self.recovered_ms += back_ms

    # -------------------------------------------------------------- workers

    def workers(self) -> list[Supervisor]:
        """Each process once, in the order of the members."""
        return list({id(m.worker): m.worker for m in self.guard.members.values()}.values())

    def all_back(self) -> bool:
        """Whether every worker has passed its self-test and is not busy with an old frame."""
        return all(w.alive and all(m._flight is None for m in w.members) for w in self.workers())

    def did(self, worker: Supervisor) -> bool:
        """Whether it told a lie, or did what it was told to beside its answers."""
        ticked = (np.frombuffer(m.answers.map, np.uint64)[strange.DID] for m in worker.members)
        return any(ticked)

    def some_workers(self) -> tuple[list[Supervisor], bool]:
        """A random set of workers, and whether without them no operation has its quorum."""
        workers = self.workers()
        hit = self.rng.sample(workers, self.rng.randint(1, len(workers)))
        lost = {member.name for worker in hit for member in worker.members}
        return hit, no_quorum(self.config, self.means.channel, lost)


def strike(workers: Iterable[Supervisor], number: int) -> None:
    """Send a signal to each; one that is gone already is not missed, nor is whoever got its
    number since."""
    for worker in workers:
        process = worker._process
        if process is not None:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(process._handle, number)


class Deaths:
    """When the last of some processes has ended: a killed one needs a processor to die, too."""

    def __init__(self, workers: Iterable[Supervisor]) -> None:
        pids = [worker.pid for worker in workers]
        self._watched = [os.pidfd_open(pid) for pid in pids if pid is not None]
        self.last_ns: int | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        for handle in self._watched:
            waiting = select.poll()
            waiting.register(handle, select.POLLIN)
            waiting.poll()
            os.close(handle)
        self.last_ns = time.monotonic_ns()
