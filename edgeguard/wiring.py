# SPDX-License-Identifier: Apache-2.0
"""What a guard is made of, connected once: the only place that knows all stages."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from edgeguard import alarm
from edgeguard.card import Card
from edgeguard.config import GuardConfig, load_cards, model_path, policy_dict
from edgeguard.config.detector_rows import row_index
from edgeguard.config.fixed import ONE
from edgeguard.config.policy import range_q16
from edgeguard.decision import CAUSES, Core, Policy, Shadow, make_controller
from edgeguard.errors import ConfigError, ModelRefused
from edgeguard.given import Reader, finite, real
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.listeners import listeners
from edgeguard.observing import Eye, Seat

if TYPE_CHECKING:
    from edgeguard.bundle import Opened
    from edgeguard.inference.members import Member, MemberSpec
    from edgeguard.inference.memory import Frames


HANG_S = 2.0  # without an answer a worker is killed; one that may take longer gets twice its time
MOST_STRANGERS = 100  # undeclared signals that are named
MOST_SHOWN = 60  # characters of such a name
UNSEEN = InputSpec(32, 32)  # how detectors look where no member of ours does; reads every pixel

_log = logging.getLogger("edgeguard")


class Strangers:
    """Says once of each signal that guard.toml does not declare it; no core reads it. Of so many
    only: a caller who makes names up must fill neither memory nor log."""

    def __init__(self, config: GuardConfig) -> None:
        self._source = config.source
        self._known: set[Any] = {"engaged", *config.signals}
        self._left = MOST_STRANGERS

    def __call__(self, signals: dict[Any, Any]) -> None:
        if self._left <= 0:
            return
        new = [name for name in signals if name not in self._known][: self._left]
        if new:
            self._known.update(new)
            self._left -= len(new)
            names = ", ".join(sorted(f"{name!r:.{MOST_SHOWN}}" for name in new))
            last = "" if self._left else "; no further ones are named"
            _log.warning("%s: signals that it does not declare: %s%s", self._source, names, last)


class Parts:
    """All stages of one guard. Members and eyes exist after ``open_members``."""

    def __init__(self, config: GuardConfig, cards: dict[str, Card]) -> None:
        self.config, self.cards = config, cards
        self.core = Core(core_policy(policy_dict(config, cards), str(config.source)))
        self.core.on_strangers(Strangers(config))
        self.shadow = Shadow(
            {
                name: make_controller(
                    channel.fallback.controller,
                    channel.fallback.parameters,
                    f"{config.source}: channel.{name}.fallback: ",
                )
                for name, channel in config.channels.items()
            }
        )
        self.read = Reader(
            self.core.valid, (n for n, signal in config.signals.items() if signal.authenticated)
        )
        self.risk = alarm.watch(config, self.core)
        self.event = alarm.Alarm(self.risk)
        self.listeners = listeners(config, cards, self.core)
        self.bus_rows = [
            (row_index(config, name), detector.feature or "")
            for name, detector in config.detectors.items()
            if detector.kind == "bus"
        ]
        self.members: dict[str, Member] = {}
        self.remote_seats: list[Seat] = []
        self._index = {name: i for i, name in enumerate(config.members)}
        self.eyes: dict[str, Eye] = {}
        self._rings: dict[tuple[str | None, InputSpec], Frames] = {}

    def member_index(self, name: str) -> int:
        """Raises KeyError with the names that exist."""
        if name not in self._index:
            raise KeyError(f"no member {name!r}; there are {', '.join(self._index)}")
        return self._index[name]

    def eye(self, camera: str) -> Eye:
        """Raises ValueError with the reason when nothing looks through this camera."""
        if camera not in self.eyes:
            known = ", ".join(self.eyes) or "none before arm()"
            raise ValueError(f"no member looks through a camera {camera!r}; there are: {known}")
        return self.eyes[camera]

    def prove_rules(self) -> None:
        """Run every rule-based controller once, in its budget (F27). Raises ConfigError."""
        ranges = {name: range_q16(signal.range) for name, signal in self.config.signals.items()}
        signals = {name: ends["min"] / ONE for name, ends in ranges.items()}  # surely valid
        budget_ms = self.config.controller.budget_ms
        wrong, spent_ns = self._rules_run(signals)
        if not wrong and spent_ns > budget_ms * 1e6:  # it may have imported and built: once more
            wrong, spent_ns = self._rules_run(signals)
            if not wrong and spent_ns > budget_ms * 1e6:
                wrong = f"took {spent_ns / 1e6:.1f} ms; controller.budget_ms is {budget_ms:g}"
        if wrong:
            raise ConfigError(f"{self.config.source}: rule-based controller does not run: {wrong}")

    def _rules_run(self, signals: Mapping[str, Any]) -> tuple[str, int]:
        """What was wrong with one run, or nothing, and how long it took in nanoseconds."""
        _, valid = self.read(signals, signals)
        commands = self.first_commands(valid)
        rule, spent_ns = self.shadow.run(valid, commands, time.monotonic_ns())
        for name, value in (rule or {}).items():
            if not finite(value):
                return f"channel.{name}: returned {value!r}, want a finite number", spent_ns
        return self.shadow.failure or "", spent_ns

    def first_commands(self, signals: Mapping[str, Any]) -> dict[str, float]:
        """What the controllers find as last command before there was one: the measured value."""
        found = {}
        for name, channel in self.config.channels.items():
            measured = signals.get(channel.measured) if channel.measured else None
            found[name] = real(measured, channel.stop)
        return found

    def open_members(self) -> None:
        """Open and self-test all members that are not external. Raises ModelRefused."""
        if self.eyes:
            return
        inside = [name for name, m in self.config.members.items() if m.runtime != "external"]
        for name in self._index.keys() - inside:
            self.core.lost(self._index[name], False)
        try:
            if inside:
                from edgeguard.inference.members import open_members

                self._open_rings(inside)
                opened = open_members([self._spec(name) for name in inside])
                self.members = dict(zip(inside, opened, strict=True))
            for index, camera in enumerate(self.config.cameras):
                self._open_eye(index, camera)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | TypeError | ValueError):  # OSError: no file can be made
                raise ModelRefused(f"{self.config.source}: {error}") from error
            raise

    def _open_rings(self, names: Iterable[str]) -> None:
        """A ring for each input that only workers read: written once, however many these are."""
        from edgeguard.inference.memory import Frames

        readers: dict[tuple[str | None, InputSpec], list[bool]] = {}
        for name in names:
            if self.cards[name].input.layout != "VECTOR":
                apart = self.config.members[name].apart
                readers.setdefault(self._view(name), []).append(apart)
        for (camera, spec), all_apart in readers.items():
            if all(all_apart):
                self._rings[camera, spec] = Frames.create(spec.shape, spec.dtype, len(all_apart))

    def take_bundle(self, bundle: Opened) -> None:
        """Its models passed their self-test: it is the newest now. One that nobody vouches for is
        named in every decision. Raises BundleRefused."""
        bundle.armed()
        if not bundle.signed:
            self.core.note(1 << CAUSES.index("UNSIGNED_BUNDLE"))

    def _view(self, name: str) -> tuple[str | None, InputSpec]:
        """What a member looks at: those with the same view get the same tensor."""
        return self.config.members[name].camera, InputSpec.of(self.cards[name].input)

    def _spec(self, name: str) -> MemberSpec:
        from edgeguard.inference.members import MemberSpec

        member, card = self.config.members[name], self.cards[name]
        return MemberSpec(
            name=name,
            card=card,
            model_path=model_path(self.config, name, card),
            runtime=member.runtime,
            providers=member.providers or member.delegates,
            isolation="process" if member.apart else "none",
            process=member.process,
            frames=None if card.input.layout == "VECTOR" else self._rings.get(self._view(name)),
            hang_s=self._hang_s(name),
            event=self.event,
        )

    def _hang_s(self, name: str) -> float:
        """How long its worker may be silent: members that share one wait for each other."""
        asked = self.config.members[name]
        sharing = [m for m in self.config.members.values() if m.process == asked.process]
        waits_ms = sum(m.deadline_ms for m in (sharing if asked.process else [asked]))
        return max(HANG_S, 2 * waits_ms / 1e3)

    def _open_eye(self, index: int, camera: str) -> None:
        from edgeguard.inference.buffers import aligned

        local: list[Seat] = []
        remote: list[Seat] = []
        tensors: dict[InputSpec, Any] = {}
        for name in self._looking(camera):
            member = self.members[name]
            spec = InputSpec.of(self.cards[name].input)
            if (camera, spec) in self._rings:
                tensors[spec] = self._rings[camera, spec].input
            else:
                tensors.setdefault(spec, aligned(spec.shape, spec.dtype))
                member.bind_input(tensors[spec])
            member.bind_scores(self.core.scores(self._index[name]))
            apart = self.config.members[name].apart
            seat = Seat(self._index[name], member, self.listeners.get(name))
            (remote if apart else local).append(seat)
            self.core.lost(self._index[name], False)
            self._watch_embedding(name, member)
        if not tensors and self._watched(camera):
            tensors[UNSEEN] = aligned(UNSEEN.shape, UNSEEN.dtype)
        frame = self.config.cameras[camera].frame
        looks = Camera(tensors, frame.format if frame else "BGR")
        rings = {spec: ring for (name, spec), ring in self._rings.items() if name == camera}
        self.eyes[camera] = Eye(index, looks, local, remote, self.core, rings)
        self.remote_seats += remote

    def _watch_embedding(self, name: str, member: Member) -> None:
        """Show the detectors of its embedding where the member leaves it."""
        output = self.cards[name].embedding
        for detector, row in self.config.detectors.items():
            if row.kind != "embedding" or row.member != name or output is None:
                continue
            from edgeguard.evidence.boxes import Boxes
            from edgeguard.evidence.embedding import kernel_fit

            arrays = self.config.fits[name, row.feature or ""]
            assert member.embedding is not None  # the card says that the model gives one
            if row.by_answer:
                self.listeners[name].bind(member.embedding, Boxes(output, arrays))
                continue
            fit = kernel_fit(row.feature or "", output, arrays)
            self.core.embedding(row_index(self.config, detector), member.embedding, fit)

    def _watched(self, camera: str) -> bool:
        detectors = self.config.detectors.values()
        return any(d.kind == "image" and d.camera == camera for d in detectors)

    def _looking(self, camera: str) -> Iterable[str]:
        return (name for name in self.members if self.config.members[name].camera == camera)

    def close(self) -> None:
        """End the members; those that run elsewhere are not heard any more either."""
        for index in self._index.values():
            self.core.lost(index, True)
        for member in self.members.values():
            member.close()
        for ring in self._rings.values():
            ring.close()
        for kept in (self.members, self.eyes, self.remote_seats, self._rings):
            kept.clear()


def core_policy(policy: dict[str, Any], source: str) -> Policy:
    """The policy as the decision core takes it. Raises ConfigError for a rule that only it has."""
    try:
        return Policy(policy)
    except ValueError as error:
        raise ConfigError(f"{source}: the decision core refuses it: {error}") from None


def connect(config: GuardConfig) -> Parts:
    """The parts of a guard for this configuration. Raises ConfigError."""
    return Parts(config, load_cards(config))
