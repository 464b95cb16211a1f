# SPDX-License-Identifier: Apache-2.0
"""What a guard is made of, connected once: the only place that knows all stages."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import define

from edgeguard.card import Card
from edgeguard.config import GuardConfig, load_cards, model_path, policy_dict
from edgeguard.decision import Core, Policy, Shadow, make_controller
from edgeguard.errors import ConfigError, ModelRefused
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec

if TYPE_CHECKING:
    from edgeguard.inference.members import Member, MemberSpec, Result


Q16_LIMIT = 32767.0


@define(eq=False)
class Seat:
    """A member's place at the core. A remote one runs in a process of its own."""

    index: int
    member: Member
    lost: bool = False
    _flight: tuple[int, int] | None = None  # serial and capture of the request under way

    def ask(self, core: Core, serial: int, t_ns: int, entered_ns: int) -> None:
        """Hand a remote member its input; one that is still busy drops the frame."""
        self.hear(core)
        if self.member.submit(serial, t_ns, entered_ns):
            self._flight = serial, t_ns
            core.handed(self.index, t_ns)
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

    def _take(self, core: Core, result: Result | None) -> None:
        self.notice(core)
        if result is None:
            return
        ready_ns = result.t_capture_ns + result.took_ns
        core.evaluate(1 << self.index, result.t_capture_ns, [ready_ns] * (self.index + 1))
        if self._flight is not None and self._flight[0] != result.serial:
            core.handed(self.index, self._flight[1])  # a newer request is still under way


@define(eq=False, slots=False)
class Eye:
    """A camera with the members that look through it."""

    index: int
    camera: Camera
    local: list[Seat]
    remote: list[Seat]

    def __attrs_post_init__(self) -> None:
        self._ready_ns = [0] * (1 + max((seat.index for seat in self.local), default=0))

    def ask(self, core: Core, serial: int, t_ns: int, entered_ns: int) -> None:
        """Hand the frame to every member; those of this process run here and now.

        Their evidence is one native call. The times are those that really passed, on the caller's
        clock, which may be simulated.
        """
        for seat in self.remote:
            seat.ask(core, serial, t_ns, entered_ns)
        ran = 0
        for seat in self.local:
            took_ns = seat.member.run(entered_ns)  # type: ignore[attr-defined]
            if took_ns >= 0:
                ran |= 1 << seat.index
                self._ready_ns[seat.index] = t_ns + took_ns
            if seat.lost or took_ns < 0:
                seat.notice(core)
        if ran:
            core.evaluate(ran, t_ns, self._ready_ns)


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
        self.members: dict[str, Member] = {}
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
        """Run every rule-based controller once, in its budget (F27). Raises ConfigError."""
        signals = {name: signal.range.low for name, signal in self.config.signals.items()}
        rule, spent_ns = self.shadow.run(signals, self.first_commands(signals), time.monotonic_ns())
        wrong = self.shadow.failure
        budget_ms = self.config.controller.budget_ms
        for name, value in (rule or {}).items():
            if not finite(value):
                wrong = f"channel.{name}: returned {value!r}, want a finite number"
        if spent_ns > budget_ms * 1e6:  # the first run may import and build; it gets a second
            rule, spent_ns = self.shadow.run(signals, self.first_commands(signals), 0)
            if spent_ns > budget_ms * 1e6:
                wrong = f"took {spent_ns / 1e6:.1f} ms; controller.budget_ms is {budget_ms:g}"
        if wrong:
            raise ConfigError(f"{self.config.source}: rule-based controller does not run: {wrong}")

    def first_commands(self, signals: Mapping[str, Any]) -> dict[str, float]:
        """What the controllers find as last command before there was one: the measured value."""
        found = {}
        for name, channel in self.config.channels.items():
            measured = signals.get(channel.measured) if channel.measured else None
            found[name] = float(measured) if finite(measured) else channel.stop  # type: ignore[arg-type]
        return found

    def open_members(self) -> None:
        """Open and self-test all members that are not external. Raises ModelRefused."""
        if self._eyes:
            return
        inside = [name for name, m in self.config.members.items() if m.runtime != "external"]
        if inside:
            from edgeguard.inference.members import open_members

            opened = open_members([self._spec(name) for name in inside])
            self.members = dict(zip(inside, opened, strict=True))
        try:
            for index, camera in enumerate(self.config.cameras):
                self._open_eye(index, camera)
        except (TypeError, ValueError) as error:
            self.close()
            raise ModelRefused(f"{self.config.source}: {error}") from error

    def _spec(self, name: str) -> MemberSpec:
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

        local: list[Seat] = []
        remote: list[Seat] = []
        tensors: dict[InputSpec, Any] = {}
        for name in self._looking(camera):
            member = self.members[name]
            spec = InputSpec.of(self.cards[name].input)
            tensors.setdefault(spec, aligned(spec.shape, spec.dtype))
            member.bind_input(tensors[spec])
            member.bind_scores(self.core.scores(self._index[name]))
            apart = self.config.members[name].isolation == "process"
            (remote if apart else local).append(Seat(self._index[name], member))
            self.core.lost(self._index[name], False)
        frame = self.config.cameras[camera].frame
        looks = Camera(tensors, frame.format if frame else "BGR")
        self._eyes[camera] = Eye(index, looks, local, remote)
        self.remote_seats += remote

    def _looking(self, camera: str) -> Iterable[str]:
        return (name for name in self.members if self.config.members[name].camera == camera)

    def close(self) -> None:
        """End the members."""
        for name, member in self.members.items():
            self.core.lost(self._index[name], True)
            member.close()
        self.members, self._eyes, self.remote_seats = {}, {}, []


def finite(value: object) -> bool:
    """Whether the border would take it: a number, finite, within Q16.16."""
    try:
        return abs(float(value)) < Q16_LIMIT  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def connect(config: GuardConfig) -> Parts:
    """The parts of a guard for this configuration. Raises ConfigError."""
    return Parts(config, load_cards(config))
