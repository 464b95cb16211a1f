# SPDX-License-Identifier: Apache-2.0
"""What a guard is made of, connected once: the only place that knows all stages."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

from attrs import define, field

from edgeguard.card import Card
from edgeguard.config import GuardConfig, load_cards, model_path, policy_dict
from edgeguard.decision import Core, Policy, Shadow, make_controller
from edgeguard.errors import ConfigError, ModelRefused
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec


@define(eq=False)
class Seat:
    """A member's place at the core. A remote one runs in a process of its own."""

    index: int
    member: Any
    remote: bool
    entered_ns: int = 0
    lost: bool = False

    def ask(self, core: Core, serial: int, t_ns: int, entered_ns: int) -> None:
        """Hand the member its input."""
        if self.remote:
            core.handed(self.index, t_ns)
        taken = self.member.submit(serial, t_ns)
        if taken:
            self.entered_ns = entered_ns
        if taken == self.lost or self.remote:
            self.notice(core)

    def notice(self, core: Core) -> None:
        """Tell the core whether the member lives, when that changed."""
        lost = not self.member.alive
        if lost != self.lost:
            self.lost = lost
            core.lost(self.index, lost)

    def hear(self, core: Core) -> None:
        """Take a remote member's answer, if there is one."""
        self._take(core, self.member.poll())

    def wait(self, core: Core, timeout_s: float) -> None:
        """``hear``, waiting for the answer."""
        self._take(core, self.member.wait(max(0.0, timeout_s)))

    def _take(self, core: Core, result: Any) -> None:
        self.notice(core)
        if result is None:
            return
        # From observe to result on the wall clock, so that a simulated clock sees real latencies.
        ready_ns = result.t_capture_ns + result.t_ready_ns - self.entered_ns
        core.evaluate(1 << self.index, result.t_capture_ns, [ready_ns] * (self.index + 1))


@define(eq=False)
class Eye:
    """A camera with the members that look through it."""

    index: int
    camera: Camera
    seats: list[Seat]
    local: list[Seat] = field(init=False)
    _ready_ns: list[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.local = [seat for seat in self.seats if not seat.remote]
        self._ready_ns = [0] * (1 + max((seat.index for seat in self.local), default=0))

    def evaluate(self, core: Core, t_ns: int, entered_ns: int) -> None:
        """One native call for the evidence of all members that ran in this process."""
        mask = 0
        for seat in self.local:
            result = seat.member.poll()
            if result is not None:
                mask |= 1 << seat.index
                self._ready_ns[seat.index] = t_ns + result.t_ready_ns - entered_ns
        if mask:
            core.evaluate(mask, t_ns, self._ready_ns)


class Parts:
    """All stages of one guard. Members and eyes exist after ``open_members``."""

    def __init__(self, config: GuardConfig, cards: dict[str, Card]) -> None:
        self.config, self.cards = config, cards
        self.core = Core(Policy(policy_dict(config, cards)))
        self.shadow = Shadow(
            {
                name: make_controller(channel.fallback.controller, channel.fallback.parameters)
                for name, channel in config.channels.items()
            }
        )
        self.members: dict[str, Any] = {}
        self.remote_seats: list[Seat] = []
        self._index = {name: i for i, name in enumerate(config.members)}
        self._eyes: dict[str, Eye] = {}

    def member_index(self, name: str) -> int:
        """Raises KeyError with the names that exist."""
        if name not in self._index:
            raise KeyError(f"no member {name!r}; there are {', '.join(self._index)}")
        return self._index[name]

    def eye(self, camera: str) -> Eye:
        """Raises ValueError with the reason when nothing looks through this camera."""
        if camera not in self._eyes:
            known = ", ".join(self._eyes) or "none before arm()"
            raise ValueError(f"no member looks through a camera {camera!r}; there are: {known}")
        return self._eyes[camera]

    def prove_rules(self) -> None:
        """Run every rule-based controller once (F27). Raises ConfigError."""
        signals = {name: signal.range.low for name, signal in self.config.signals.items()}
        last = {name: channel.stop for name, channel in self.config.channels.items()}
        rule, _ = self.shadow.run(signals, last, time.monotonic_ns())
        wrong = self.shadow.failure
        for name, value in (rule or {}).items():
            if not isinstance(value, (int, float)) or not math.isfinite(value):
                wrong = f"channel.{name}: returned {value!r}, want a finite number"
        if wrong:
            raise ConfigError(f"{self.config.source}: rule-based controller does not run: {wrong}")

    def open_members(self) -> None:
        """Open and self-test all members that are not external. Raises ModelRefused."""
        inside = [name for name, m in self.config.members.items() if m.runtime != "external"]
        if not inside or self.members:
            return
        from edgeguard.inference.members import open_members

        opened = open_members([self._spec(name) for name in inside])
        self.members = dict(zip(inside, opened, strict=True))
        try:
            for index, camera in enumerate(self.config.cameras):
                self._open_eye(index, camera)
        except (TypeError, ValueError) as error:
            self.close()
            raise ModelRefused(f"{self.config.source}: {error}") from error

    def _spec(self, name: str) -> Any:
        from edgeguard.inference.members import MemberSpec

        member, card = self.config.members[name], self.cards[name]
        return MemberSpec(
            name=name,
            card=card,
            model_path=model_path(self.config, name, card),
            runtime=member.runtime,
            providers=member.providers or member.delegates,
            isolation=member.isolation,
        )

    def _open_eye(self, index: int, camera: str) -> None:
        from edgeguard.inference.buffers import aligned

        seats: list[Seat] = []
        tensors: dict[InputSpec, Any] = {}
        for name in self._looking(camera):
            member = self.members[name]
            spec = InputSpec.of(self.cards[name].input)
            tensors.setdefault(spec, aligned(spec.shape, spec.dtype))
            member.bind_input(tensors[spec])
            member.bind_scores(self.core.scores(self._index[name]))
            remote = self.config.members[name].isolation == "process"
            seats.append(Seat(self._index[name], member, remote))
        if not seats:
            return
        frame = self.config.cameras[camera].frame
        self._eyes[camera] = Eye(index, Camera(tensors, frame.format if frame else "BGR"), seats)
        self.remote_seats += [seat for seat in seats if seat.remote]

    def _looking(self, camera: str) -> Iterable[str]:
        return (name for name in self.members if self.config.members[name].camera == camera)

    def close(self) -> None:
        """End the members."""
        for seat in self.remote_seats:
            self.core.lost(seat.index, True)
        for member in self.members.values():
            member.close()
        self.members, self._eyes, self.remote_seats = {}, {}, []


def connect(config: GuardConfig) -> Parts:
    """The parts of a guard for this configuration. Raises ConfigError."""
    return Parts(config, load_cards(config))
