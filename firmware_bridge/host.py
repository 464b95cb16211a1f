# SPDX-License-Identifier: Apache-2.0
"""The host's end of the link as a machine without IO and without a clock: bytes and times in,
bytes out. What is a frame, and which one is accepted, is decided by the C of the link, which both
ends run.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Protocol

from attrs import frozen

from firmware_bridge.keys import Keys
from firmware_bridge.links import Unit
from firmware_bridge.native import (
    ARM_RESULTS,
    MASK32,
    MODES,
    ONE,
    RESETS,
    bit,
    causes_of,
    ffi,
    lib,
)
from firmware_bridge.table import table_hash

HELLO_EVERY_US = 100_000  # until a CHALLENGE comes, and from there until ARMED
AGREED_US = 500_000  # how long a person's word to arm holds, where a cause is still present
NO_TIME_US = 1 << 30  # since something that never was

STOPPED, LOST = bit("PEER_STOPPED"), bit("LINK_LOST")


class Decided(Protocol):
    """What of a decision goes to the microcontroller (edgeguard.decision.Decision)."""

    @property
    def sequence(self) -> int: ...
    @property
    def mode(self) -> int: ...
    @property
    def active(self) -> bool: ...
    @property
    def operator_request(self) -> bool: ...
    @property
    def command_q16(self) -> tuple[int, ...]: ...
    @property
    def causes_mask(self) -> int: ...
    @property
    def present_mask(self) -> int: ...
    @property
    def evidence(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def question(self) -> int: ...
    @property
    def answer(self) -> int: ...
    @property
    def checks(self) -> tuple[int, ...]: ...


class Phase(Enum):
    """How far arming is."""

    IDLE = "idle"
    GREETING = "greeting"  # HELLO is out
    ASKING = "asking"  # ARM is out
    ARMED = "armed"
    REFUSED = "refused"


@frozen
class State:
    """What the microcontroller says on every period. m/s, rad; NaN where it cannot measure."""

    stamp_us: int
    mode: str
    causes: tuple[str, ...]
    speed: float
    steering: float
    output: tuple[float, float]
    command_age_us: int


@frozen
class Boot:
    """What it says of its last reset, until it is armed."""

    reason: str
    before: str
    resets: int
    self_test: int  # EG_FAIL_* bits found now, and << 16 those that led to the reset
    table: bytes  # hash of the table that it runs


PASSING = frozenset({"NONCE", "SLOW"})  # a busy machine's, or a frame that was lost

_REFUSALS = {
    "NONCE": "it did not ask with that nonce; try again",
    "TOKEN": "the operator key is not the one of its build",
    "SLOW": "the round trip is longer than 20 ms, so that its age of a command would be a guess",
    "POLICY": "it runs another table; build its firmware from this guard.toml",
    "CAUSE": "a cause is still present",
    "MOVING": "the vehicle does not stand, or nobody knows",
    "TOO_OFTEN": "it was armed three times within a minute; wait",
}


class HostLink:
    """Not for two threads at once; `session.Session` holds the lock.

    Times are microseconds of one clock and may be any integers: they are reduced to 32 bits here.
    """

    def __init__(
        self,
        mcu: Mapping[str, Any],
        keys: Keys,
        *,
        framed: bool = False,
        nonce: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """mcu: what `edgeguard.config.mcu_dict` gives. framed: CAN FD, one frame a message;
        otherwise serial, frames in COBS."""
        config = ffi.new("eg_link_config_t *", {"mcu": 0, "key": keys.link, **mcu["link"]})
        self._keys = keys
        self.framed = framed
        self._nonce = nonce
        self._table = table_hash(mcu)
        self._link = ffi.new("eg_link_t *")
        lib.eg_link_init(self._link, config)
        self._out = ffi.new("eg_message_t *")
        self._in = ffi.new("eg_message_t *")
        self._wire = ffi.new("uint8_t[]", lib.EG_WIRE_MAX)
        self._sending: list[Unit] = []
        self._host_nonce = bytes(8)
        self._mcu_nonce = bytes(8)
        self._question = 0
        self._last_asked = 0
        self._asked_us = 0
        self._passed_us: int | None = None
        self._greeted_us: int | None = None
        self._agreed_us = 0
        self.phase = Phase.IDLE
        self.refusal: str | None = None
        """Why the last arming failed, in words."""
        self.result = ""
        """The same as a word of eg_arm_result_t."""
        self.agrees: bool | None = None
        """Whether it runs our table; None before it said so."""
        self.round_trip_us = 0
        self.state: State | None = None
        self.state_us = -NO_TIME_US
        """When that came."""
        self.boot: Boot | None = None
        self.log_head: tuple[int, bytes] | None = None
        """The last head of the log that it has confirmed."""
        self.former_log_head: tuple[int, bytes] | None = None
        """That of a host before this one, which it names when it is armed."""
        self._heads: deque[tuple[int, bytes]] = deque(maxlen=8)  # sent last

    # ------------------------------------------------------------------ arming

    def arm(self, now_us: int) -> None:
        """Begin the handshake; also to arm again. It goes on by itself in `receive` and `tick`.

        A session that is open stays so until the next one is: the microcontroller judges by what it
        hears now, and one that refuses is still commanded.
        """
        self.phase, self.refusal = Phase.GREETING, None
        self._agreed_us = now_us
        self._greet(now_us)

    def _greet(self, now_us: int) -> None:
        self._host_nonce = self._nonce(8)
        self._greeted_us = now_us
        hello = self._message("HELLO").hello
        hello.nonce = self._host_nonce
        hello.policy = self._table
        self._queue()

    def _challenged(self, challenge: Any, now_us: int) -> None:
        if self.phase is not Phase.GREETING or bytes(challenge.host_nonce) != self._host_nonce:
            return  # an old one, or nobody asked
        self.agrees = bool(challenge.policy_agrees)
        self._mcu_nonce = bytes(challenge.nonce)
        arm = self._message("ARM").arm
        arm.nonce = self._mcu_nonce
        lib.eg_cmac(self._keys.operator, self._mcu_nonce, 8, ffi.NULL, 0, arm.token)
        arm.stamp_us = now_us & MASK32
        self._greeted_us = now_us
        self.phase = Phase.ASKING
        self._queue()

    def _armed(self, armed: Any) -> None:
        if self.phase is not Phase.ASKING:
            return
        self.result = result = ARM_RESULTS[armed.result]
        self.round_trip_us = armed.round_trip_us
        if result == "OK":
            lib.eg_link_open(self._link, self._host_nonce, self._mcu_nonce)
            self.phase, self._question, self.state = Phase.ARMED, 0, None
        else:
            causes = ", ".join(causes_of(armed.causes))
            self.phase = Phase.REFUSED
            self.refusal = _REFUSALS[result] + (f" ({causes})" if causes else "")

    # -------------------------------------------------------------------- in

    def receive(self, data: bytes, now_us: int) -> None:
        """Bytes of a serial port that arrived now."""
        self._pass(now_us)
        now = now_us & MASK32
        for byte in data:
            if lib.eg_link_byte(self._link, byte, now, self._in):
                self._take(now_us)

    def receive_frame(self, frame: bytes, now_us: int) -> None:
        """One CAN FD frame that arrived now."""
        self._pass(now_us)
        if lib.eg_link_accept(self._link, frame, len(frame), now_us & MASK32, self._in):
            self._take(now_us)

    def _take(self, now_us: int) -> None:
        kind, of = self._in.type, getattr(self._in, "as")
        if kind == lib.EG_MSG_STATE:
            self.state, self.state_us = _state(of.state), now_us
        elif kind == lib.EG_MSG_QUESTION:
            self._asked(of.question.question, now_us)
        elif kind == lib.EG_MSG_CHALLENGE:
            self._challenged(of.challenge, now_us)
        elif kind == lib.EG_MSG_ARMED:
            self._armed(of.armed)
        elif kind == lib.EG_MSG_BOOT:
            self._booted(of.boot)
        elif kind == lib.EG_MSG_LOG_ACK:
            self._acknowledged((of.log_head.sequence, bytes(of.log_head.hash)))

    def _asked(self, question: int, now_us: int) -> None:
        """One that is asked again is as old as it was, whether it was answered or not."""
        if question != self._last_asked:
            self._last_asked, self._asked_us = question, now_us
        self._question = question

    def _acknowledged(self, head: tuple[int, bytes]) -> None:
        if head in self._heads or head == self.log_head:
            self.log_head = head
        else:
            self.former_log_head = head

    def _booted(self, boot: Any) -> None:
        self.boot = Boot(
            reason=RESETS[boot.reason],
            before=RESETS[boot.first],
            resets=boot.resets,
            self_test=boot.self_test,
            table=bytes(boot.policy),
        )
        if self._link.in_session:  # it was reset: what was agreed on is gone
            self._close()

    def _close(self) -> None:
        lib.eg_link_close(self._link)
        if self.phase is Phase.ARMED:  # else a handshake goes on
            self.phase = Phase.IDLE

    # ------------------------------------------------------------------- out

    def question(self, now_us: int) -> int:
        """What the checks of the next decision have to answer; 0 while nobody asks.

        An answer that comes too early is a wrong one, so a new question waits.
        """
        waited_us = now_us - self._asked_us
        return self._question if waited_us >= lib.EG_ANSWER_OPEN_US else 0

    def decided(self, decision: Decided, now_us: int) -> None:
        """Send a decision: COMMAND, VERDICT, and ANSWER where one was asked for."""
        if not self._link.in_session:
            return
        command = self._message("COMMAND").command
        command.tick = decision.sequence
        command.stamp_us = now_us & MASK32
        command.mode = int(decision.mode)
        command.engaged = decision.active
        command.channels = len(decision.command_q16)
        command.command[0 : command.channels] = decision.command_q16
        self._queue()
        self._verdict(decision)
        if self._question and decision.question == self._question:
            answer = self._message("ANSWER").answer
            answer.tick, answer.question = decision.sequence, decision.question
            answer.answer = decision.answer
            answer.check = decision.checks
            self._queue()
            self._question = 0

    def _verdict(self, decision: Decided) -> None:
        verdict = self._message("VERDICT").verdict
        verdict.tick = decision.sequence
        verdict.causes, verdict.present = decision.causes_mask, decision.present_mask
        verdict.mode = int(decision.mode)
        verdict.operator_request = decision.operator_request
        for i, said in enumerate(decision.evidence.values()):
            verdict.votes[i], verdict.voters[i] = said["votes"], said["voters"]
        self._queue()

    def log(self, sequence: int, digest: bytes) -> None:
        """Send the head of the recorder's chain; hash: 32 bytes."""
        if self._link.in_session:
            head = self._message("LOG_HEAD").log_head
            head.sequence, head.hash = sequence, digest
            self._heads.append((sequence, digest))
            self._queue()

    def begin(self) -> None:
        """The loop runs from now on: that nobody ticked before is no fault of the link."""
        if not self._link.in_session:
            lib.eg_link_close(self._link)

    def tick(self, now_us: int) -> int:
        """Once a period. Returns the causes that the next decision should know of, as a mask.

        Here the handshake is begun again: when nothing came back, or for a reason that passes.
        """
        last_us = self._greeted_us
        if self._waiting(now_us) and last_us is not None and now_us - last_us >= HELLO_EVERY_US:
            self.phase = Phase.GREETING
            self._greet(now_us)
        causes = self.age(now_us)
        if self._link.in_session and causes & LOST:
            self._close()  # as the other end does, which is heard again from then on
        if not self._link.in_session or self.stopped:
            causes |= STOPPED
        return causes

    def _waiting(self, now_us: int) -> bool:
        """Whether the handshake may be begun again. In a session a cause may be one that the next
        COMMAND ends: that the host itself stopped."""
        if self.phase is not Phase.REFUSED:
            return self.phase in (Phase.GREETING, Phase.ASKING)
        passes = self._link.in_session and now_us - self._agreed_us < AGREED_US
        return self.result in PASSING or (self.result == "CAUSE" and passes)

    def age(self, now_us: int) -> int:
        """Time passes on the link; its causes as a mask."""
        self._pass(now_us)
        return int(lib.eg_link_tick(self._link))

    def _pass(self, now_us: int) -> None:
        """Before what came in is looked at too: silence counts from the last good frame."""
        last_us = now_us if self._passed_us is None else self._passed_us
        self._passed_us = max(last_us, now_us)  # a thread may have waited with an older time
        lib.eg_link_pass(self._link, min(self._passed_us - last_us, NO_TIME_US))

    @property
    def stopped(self) -> bool:
        """Whether the microcontroller stops the vehicle, or has not said otherwise."""
        return self.state is None or self.state.mode == "SAFE_STOP"

    def measured(self, now_us: int) -> State | None:
        """What it measured, while that is recent; by a clock that was set back nobody knows."""
        return self.state if abs(now_us - self.state_us) < lib.EG_LINK_TIMEOUT_US else None

    def take(self) -> list[Unit]:
        """What is to be sent now."""
        taken, self._sending = self._sending, []
        return taken

    @property
    def counts(self) -> dict[str, int]:
        """Every frame that came in, counted once, under what was made of it."""
        found = self._link.counts
        return {name: getattr(found, name) for name, _ in ffi.typeof("eg_link_counts_t").fields}

    def _message(self, kind: str) -> Any:
        ffi.memmove(self._out, bytes(ffi.sizeof("eg_message_t")), ffi.sizeof("eg_message_t"))
        self._out.type = getattr(lib, f"EG_MSG_{kind}")
        return getattr(self._out, "as")

    def _queue(self) -> None:
        write = lib.eg_link_frame if self.framed else lib.eg_link_wire
        length = write(self._link, self._out, self._wire)
        self._sending.append(Unit(self._out.type, bytes(ffi.buffer(self._wire, length))))


def _state(raw: Any) -> State:
    return State(
        stamp_us=raw.stamp_us,
        mode=MODES[raw.mode],
        causes=causes_of(raw.causes),
        speed=raw.speed / ONE if raw.measured_valid & 1 else float("nan"),
        steering=raw.steering / ONE if raw.measured_valid & 2 else float("nan"),
        output=(raw.output[0] / ONE, raw.output[1] / ONE),
        command_age_us=raw.command_age_us,
    )
