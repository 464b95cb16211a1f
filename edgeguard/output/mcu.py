# SPDX-License-Identifier: Apache-2.0
"""A guard whose commands go through a microcontroller, which measures and stops by itself."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from edgeguard.config import GuardConfig, mcu_dict
from edgeguard.config.fixed import whole_ns
from edgeguard.config.mcu import Roles, roles
from edgeguard.decision import Decision
from edgeguard.errors import EdgeguardError
from edgeguard.given import as_dict, real
from firmware_bridge.host import STOPPED, HostLink, Phase, State
from firmware_bridge.keys import Keys
from firmware_bridge.links import Unit
from firmware_bridge.plant import Vehicle
from firmware_bridge.session import Session
from firmware_bridge.twin import McuTwin

_log = logging.getLogger("edgeguard")

WARM_TICKS = 20
LOG_EVERY = 50  # ticks between two heads of the recording: a flush takes as long
LONGEST_US = 10_000_000  # what a twin catches up with at once; it stops the vehicle long before
ARM_S = 5.0  # a board that was just given power needs a part of it for its self-test


class Heard(NamedTuple):
    """What a tick begins with."""

    question: int
    """Of the microcontroller's watchdog, or 0."""
    causes: int
    """A mask: what the link says of itself."""
    state: State | None
    """What the microcontroller measured, while that is recent."""


class Microcontroller(Protocol):
    """What `Behind` needs: one on a port, or a twin in this process."""

    real_time: bool

    def arm(self) -> None:
        """Raises EdgeguardError, which says why it does not arm."""

    def rearm(self) -> None:
        """Begin the handshake anew, without waiting for its end."""

    def before(self, signals: Mapping[str, float], t_ns: int) -> Heard: ...
    def after(self, decision: Decision, t_ns: int) -> None: ...
    def log(self, sequence: int, digest: bytes) -> None: ...
    @property
    def log_head(self) -> tuple[int, bytes] | None: ...
    @property
    def former_log_head(self) -> tuple[int, bytes] | None: ...
    def close(self) -> None: ...


class Decider(Protocol):
    """What `Behind` needs of a guard."""

    config: GuardConfig

    @property
    def log_head(self) -> tuple[int, bytes] | None: ...
    def arm(self) -> None: ...
    def ask(self, question: int) -> None: ...
    def note(self, causes: int) -> None: ...
    def decide(
        self, signals: Mapping[str, float], t_ns: int,
        authenticated: Mapping[str, float] | None = None,
    ) -> Decision: ...  # fmt: skip
    def knows(self, token: str) -> bool: ...
    def doubts(self, token: str) -> str | None: ...
    def rearm(self, token: str) -> str | None: ...
    def takeover(self) -> None: ...
    def event(self, name: str) -> None: ...


class Behind:
    """Decides as the guard does, between what the microcontroller says and what it is told.

    The signals that it measures replace those of the same name; with tags on its link they are
    authenticated.
    """

    def __init__(self, guard: Decider, mcu: Microcontroller) -> None:
        self._guard, self._mcu = guard, mcu
        self.config = guard.config
        self._roles = roles(guard.config)
        self._has_tags = guard.config.mcu is None or guard.config.mcu.authenticated
        self._ticks = 0
        self._former: tuple[int, bytes] | None = None
        self.state: State | None = None
        """What the microcontroller said last, while that is recent."""

    def arm(self) -> None:
        """The guard, then the microcontroller: the first command must follow at once."""
        self._guard.arm()
        self._mcu.arm()

    def decide(
        self, signals: Mapping[str, float], t_ns: int,
        authenticated: Mapping[str, float] | None = None,
    ) -> Decision:  # fmt: skip
        """One control step, which never waits for the port. See `Guard.decide`."""
        given = as_dict(signals)
        heard = self._mcu.before(given, t_ns)
        self.state = heard.state
        self._guard.ask(heard.question)
        self._guard.note(heard.causes)
        measured = _measured(self._roles, heard.state)
        if self._has_tags:
            decision = self._guard.decide(given, t_ns, {**as_dict(authenticated), **measured})
        else:
            decision = self._guard.decide({**given, **measured}, t_ns, authenticated)
        self._mcu.after(decision, t_ns)
        self._ticks += 1
        if self._ticks % LOG_EVERY == 0:
            self._tell_log_head()
            self._hear_former_log_head()
        return decision

    def _tell_log_head(self) -> None:
        """Until it is confirmed: the link may lose it."""
        head = self._guard.log_head
        if head is not None and head != self._mcu.log_head:
            self._mcu.log(*head)

    @property
    def log_head(self) -> tuple[int, bytes] | None:
        """The head of the recording that the microcontroller confirmed last."""
        return self._mcu.log_head

    def _hear_former_log_head(self) -> None:
        """It names it when it is armed; said at once, since this process may crash, too."""
        head = self._mcu.former_log_head
        if head is not None and head != self._former:
            _log.warning("mcu: confirmed the last log's head %s (seal %d)", head[1].hex(), head[0])
        self._former = head

    def knows(self, token: str) -> bool:
        """See `Guard.knows`."""
        return self._guard.knows(token)

    def doubts(self, token: str) -> str | None:
        """See `Guard.doubts`."""
        return self._guard.doubts(token)

    def rearm(self, token: str) -> str | None:
        """The guard, then the microcontroller: it arms by its own rules, and `said` tells whether
        it did. Returns why the guard does not, or None."""
        refused = self._guard.rearm(token)
        if refused is None:
            self._mcu.rearm()
        return refused

    def takeover(self) -> None:
        """See `Guard.takeover`."""
        self._guard.takeover()

    def event(self, name: str) -> None:
        """See `Guard.event`."""
        self._guard.event(name)

    @property
    def measures(self) -> tuple[str, ...]:
        """The signals that the microcontroller measures."""
        return tuple(self._roles.signals)

    @property
    def said(self) -> str:
        """In what mode the microcontroller is, and why, as a person reads it."""
        if self.state is None:
            return "silent"
        return " ".join((self.state.mode, *self.state.causes))

    @property
    def real_time(self) -> bool:
        """Whether its clock is the real one, so that nothing may run ahead of it."""
        return self._mcu.real_time

    def close(self) -> None:
        """The microcontroller is left alone, and stops the vehicle."""
        self._mcu.close()


def _measured(found: Roles, state: State | None) -> dict[str, float]:
    if state is None:
        return {}
    said = {found.speed_signal: state.speed, found.steering_signal: state.steering}
    return {name: value for name, value in said.items() if name and math.isfinite(value)}


def _number(value: object) -> float | None:
    """What a sensor can say: a number that the border takes, or nothing."""
    number = real(value, math.nan)
    return number if math.isfinite(number) else None


class OnPort:
    """A board, or one in QEMU, on a port."""

    real_time = True

    def __init__(self, port: str, config: GuardConfig, keys: Keys) -> None:
        """port: see `firmware_bridge.links.open_link`. Raises EdgeguardError."""
        self._session = Session(port, mcu_dict(config), keys)
        self._period_s = config.guard.period_ms / 1000
        self._ticks = 0
        self._armed = False

    def arm(self) -> None:
        """Waits for its first word; the handshake follows when the loop is warm, since from then on
        a command is expected on every period. Raises EdgeguardError when it is silent."""
        wrong = self._session.wait_heard(ARM_S)
        if wrong:
            raise EdgeguardError(f"{self._session.link.name}: {wrong}")

    def before(self, signals: Mapping[str, float], t_ns: int) -> Heard:
        """Never waits. Raises EdgeguardError with the microcontroller's reason not to arm."""
        if not self._armed:
            self._arming()
        question, causes = self._session.before()
        return Heard(question, causes, self._session.measured())

    def _arming(self) -> None:
        self._ticks += 1
        if self._ticks == WARM_TICKS:
            self._session.arm()
        self._armed = self._session.phase is Phase.ARMED
        late = self._ticks * self._period_s > ARM_S
        if self._session.refused_for_good or (late and not self._armed):
            why = self._session.refusal or "no answer"
            raise EdgeguardError(f"{self._session.link.name}: does not arm: {why}")

    def rearm(self) -> None:
        """Never waits: the answer comes in the reading thread."""
        self._session.arm()

    def after(self, decision: Decision, t_ns: int) -> None:
        """Never waits."""
        self._session.after(decision)

    def log(self, sequence: int, digest: bytes) -> None:
        """Never waits."""
        self._session.log(sequence, digest)

    @property
    def log_head(self) -> tuple[int, bytes] | None:
        """What it confirmed last."""
        return self._session.log_head

    @property
    def former_log_head(self) -> tuple[int, bytes] | None:
        """What it had confirmed to a process before this one."""
        return self._session.former_log_head

    def close(self) -> None:
        """Close the port."""
        self._session.close()


class InTwin:
    """The firmware in this process, on the clock of the decisions: simulated or not.

    Its vehicle is simulated, unless the signals say how fast it is.
    """

    real_time = False

    def __init__(self, config: GuardConfig, keys: Keys, entropy: bytes | None = None) -> None:
        mcu = mcu_dict(config)
        self._roles = roles(config)
        self.twin = McuTwin(mcu, keys, entropy)
        self.host = HostLink(mcu, keys)
        self.vehicle = Vehicle()
        self._last_us: int | None = None
        self._next_us = 0
        self._wanted = False

    def arm(self) -> None:
        """The handshake takes place before the first decision, when the time is known."""
        self._wanted = True

    def before(self, signals: Mapping[str, float], t_ns: int) -> Heard:
        """Let the twin run up to now. Raises EdgeguardError when it does not arm."""
        now_us = self._now_us(t_ns)
        if now_us is None:
            return Heard(0, STOPPED, None)
        if self._last_us is None:
            self._begin(signals, now_us)
        self._run(signals, now_us)
        self._last_us = now_us
        causes = self.host.tick(now_us)
        self._give(self.host.take(), now_us)
        return Heard(self.host.question(now_us), causes, self.host.measured(now_us))

    def _now_us(self, t_ns: object) -> int | None:
        """Of what is no stamp, the last one's: to the guard it is a TIME_FAULT. None before the
        first."""
        stamp_ns = whole_ns(t_ns)
        return self._last_us if stamp_ns is None else stamp_ns // 1000

    def _begin(self, signals: Mapping[str, float], now_us: int) -> None:
        """Power comes shortly before the first tick, and a person agrees to arming."""
        period_us = self.twin.period_us
        start_us = now_us - 4 * period_us
        self._next_us = start_us + period_us // 2
        self.twin.power_cycle(start_us)
        if not self._wanted:
            return
        self.host.arm(start_us)
        self._give(self.host.take(), start_us)
        self._run(signals, now_us)
        if self.host.phase is not Phase.ARMED:
            raise EdgeguardError(f"--mcu twin: does not arm: {self.host.refusal or 'no answer'}")

    def _run(self, signals: Mapping[str, float], until_us: int) -> None:
        """Its turns lie between the host's ticks; nobody waits for those of a clock that jumped."""
        self._next_us = max(self._next_us, until_us - LONGEST_US)
        while self._next_us <= until_us:
            self._sense(signals)
            self._hear(self.twin.step(self._next_us), self._next_us)
            self._next_us += self.twin.period_us

    def _sense(self, signals: Mapping[str, float]) -> None:
        self.vehicle.target, self.vehicle.steering = self.twin.actuator
        self.vehicle.move(self.twin.period_us / 1e6)
        found = self._roles
        given = [signals.get(n) if n else None for n in (found.speed_signal, found.steering_signal)]
        own = self.vehicle.speed, self.vehicle.angle
        self.twin.sense(*(b if a is None else _number(a) for a, b in zip(given, own, strict=True)))

    def _hear(self, data: bytes, now_us: int) -> None:
        self.host.receive(data, now_us)
        self._give(self.host.take(), now_us)

    def _give(self, units: list[Unit], now_us: int) -> None:
        for unit in units:
            self.twin.receive(unit.data)
        self.twin.listen(now_us)

    def rearm(self) -> None:
        """The handshake goes on in the next tick."""
        if self._last_us is not None:
            self.host.arm(self._last_us)
            self._give(self.host.take(), self._last_us)

    def after(self, decision: Decision, t_ns: int) -> None:
        """The bytes arrive at once."""
        now_us = self._now_us(t_ns)
        if now_us is not None:
            self.host.decided(decision, now_us)
            self._give(self.host.take(), now_us)

    def log(self, sequence: int, digest: bytes) -> None:
        """It arrives on the twin's next turn."""
        self.host.log(sequence, digest)

    @property
    def log_head(self) -> tuple[int, bytes] | None:
        """What it confirmed last."""
        return self.host.log_head

    @property
    def former_log_head(self) -> tuple[int, bytes] | None:
        """A twin begins with the process."""
        return self.host.former_log_head

    def close(self) -> None:
        """Nothing is open."""
