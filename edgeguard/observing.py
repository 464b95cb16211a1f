# SPDX-License-Identifier: Apache-2.0
"""A camera's frame on its way to every member that looks at it, and their answers to the core."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define

from edgeguard.decision import Core
from edgeguard.intake.camera import Box, Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.listeners import Listener

if TYPE_CHECKING:
    from edgeguard.inference.members import Member, Result
    from edgeguard.inference.memory import Frames


@define(eq=False)
class Seat:
    """A member's place at the core. A remote one runs in a process of its own."""

    index: int
    member: Member
    listener: Listener | None = None
    lost: bool = False
    _flight: tuple[int, int] | None = None  # serial and capture of the request under way

    def ask(self, core: Core, serial: int, t_ns: int, since_ns: int) -> None:
        """Hand a remote member its input; one that is still busy drops the frame."""
        self.hear(core)

        def accepted() -> None:  # before another thread can hear the answer
            self._flight = serial, t_ns
            core.handed(self.index, t_ns)
            if self.listener is not None:
                self.listener.asked()

        self.member.submit(serial, t_ns, since_ns, accepted)
        self.notice(core)

    def notice(self, core: Core) -> None:
        """Tell the core whether the member lives, when that changed."""
        lost = not self.member.alive
        if lost != self.lost:
            self.lost = lost
            core.lost(self.index, lost)

    def hear(self, core: Core) -> None:
        """Take a remote member's answer, if there is one."""
        take_answers(core, (self,))

    def answered(self, core: Core, result: Result) -> None:
        """After an answer was taken: a newer request may still be under way."""
        if self._flight is not None and self._flight[0] != result.serial:
            core.handed(self.index, self._flight[1])


def take_answers(core: Core, seats: Sequence[Seat], timeout_s: float = 0.0) -> None:
    """Take what remote members have answered, waiting for it up to ``timeout_s`` seconds.

    The evidence of all that looked at the same frame is one native call.
    """
    end = time.monotonic() + timeout_s if timeout_s > 0 else 0.0
    heard: list[tuple[Seat, Result]] = []
    for seat in seats:
        member = seat.member
        result = member.wait(end - time.monotonic()) if end else member.poll()
        seat.notice(core)
        if result is not None:
            heard.append((seat, result))
    while heard:
        t_ns = heard[0][1].t_capture_ns
        same = [(seat, result) for seat, result in heard if result.t_capture_ns == t_ns]
        heard = [one for one in heard if one[1].t_capture_ns != t_ns]
        ready_ns = [t_ns + result.took_ns for _, result in same]
        core.evaluate(tuple(seat.index for seat, _ in same), t_ns, ready_ns)
        for seat, result in same:
            seat.answered(core, result)
            if seat.listener is not None:
                seat.listener.heard(t_ns)


class Eye:
    """A camera with the members that look through it.

    What a step needs is looked up once, here: after an inference the caches are cold, and every
    object that is touched on the way costs more than what is done with it.
    """

    def __init__(
        self, index: int, camera: Camera, local: list[Seat], remote: list[Seat], core: Core,
        rings: Mapping[InputSpec, Frames],
    ) -> None:  # fmt: skip
        """rings: what only workers read is written straight to their memory, in turn."""
        self.index, self.camera, self.local, self.remote = index, camera, local, remote
        self._rings = dict(rings)
        self._core, self._serial, self._some_lost = core, 0, False
        self._look, self._frame, self._evaluate = camera.look, core.frame, core.evaluate
        members: list[Any] = [seat.member for seat in local]
        self._runs = tuple((i, member.run) for i, member in enumerate(members))
        self._members = tuple(seat.index for seat in local)
        self._ready_ns: list[int | None] = [None] * len(local)
        self._heard = [(i, s.listener) for i, s in enumerate(local) if s.listener is not None]
        listeners = [s.listener for s in (*local, *remote) if s.listener is not None]
        self._shown = [(InputSpec.of(one.input), one) for one in listeners if one.looks]

    def see(self, frame: Any, box: Box | None, t_ns: int, since_ns: int) -> None:
        """Hand the frame to every member; those of this process run here and now.

        Their evidence is one native call. The times are those that really passed, on the caller's
        clock, which may be simulated. since_ns: CLOCK_MONOTONIC, from when on they count.
        """
        for spec, ring in self._rings.items():
            self.camera.aim(spec, ring.input)
        health, scene, view = self._look(frame, box)
        self._frame(self.index, health, scene, view, t_ns)
        for spec, listener in self._shown:
            listener.shown(self.camera.tensor(spec), t_ns)
        if self.remote:
            for ring in self._rings.values():
                ring.publish(scene if health is None else health.content_hash)
            self._ask(t_ns, since_ns)
        ready_ns, origin_ns = self._ready_ns, since_ns - t_ns
        for i, run in self._runs:
            ready_ns[i] = run(origin_ns)
        if self._some_lost or None in ready_ns:
            self._notice()
        self._evaluate(self._members, t_ns, ready_ns)
        for i, listener in self._heard:
            if ready_ns[i] is not None:
                listener.asked()
                listener.heard(t_ns)

    def _ask(self, t_ns: int, since_ns: int) -> None:
        self._serial += 1
        for seat in self.remote:
            seat.ask(self._core, self._serial, t_ns, since_ns)

    def _notice(self) -> None:
        for seat in self.local:
            seat.notice(self._core)
        self._some_lost = any(seat.lost for seat in self.local)
