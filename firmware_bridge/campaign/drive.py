# SPDX-License-Identifier: Apache-2.0
"""A host that drives, the firmware's twin and a vehicle on one clock, with a wire in between.

The host's end is the real `HostLink`; its decisions are made up, since what is judged lies behind
the link. Both clocks start anywhere in 32 bits, and the host's runs up to 100 ppm off.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, NamedTuple

from attrs import define

from firmware_bridge.campaign.judge import Judge, Limits, Measured
from firmware_bridge.host import HostLink, Phase
from firmware_bridge.keys import Keys
from firmware_bridge.native import ONE, lib
from firmware_bridge.plant import Vehicle
from firmware_bridge.twin import McuTwin

ARM_TURNS = 40
COMMAND, VERDICT, ANSWER = lib.EG_MSG_COMMAND, lib.EG_MSG_VERDICT, lib.EG_MSG_ANSWER
NOMINAL, SAFE_STOP = lib.EG_NOMINAL, lib.EG_SAFE_STOP


@define
class Decision:
    """What `HostLink.decided` sends, as a guard would decide it."""

    sequence: int
    command_q16: tuple[int, ...]
    question: int = 0
    mode: int = NOMINAL
    active: bool = True
    operator_request: bool = False
    causes_mask: int = 0
    present_mask: int = 0
    evidence: Mapping[str, Mapping[str, Any]] = {}
    answer: int = 0
    checks: tuple[int, ...] = ()

    def sign(self, others: tuple[int, ...]) -> Decision:
        """Give the answer that the checks of this decision make."""
        crc = lib.EG_CRC_START
        for value in self.command_q16:
            crc = lib.eg_crc_u32(crc, value & 0xFFFFFFFF)
        causes = lib.eg_crc_u32(
            lib.eg_crc_u32(lib.EG_CRC_START, self.causes_mask), self.present_mask
        )
        self.checks = (*others, lib.eg_crc_end(causes), lib.eg_crc_end(crc))
        self.answer = lib.eg_flow_answer(self.question, self.sequence, self.checks)
        return self


class Piece(NamedTuple):
    """Bytes on their way to the microcontroller. number: of the COMMAND that they are, whole and
    unchanged; 0: something else."""

    at_us: int
    data: bytes
    kind: int
    number: int


Wire = Callable[[list[Piece]], Iterable[Piece]]


def clean(pieces: list[Piece]) -> Iterable[Piece]:
    """A wire that changes nothing."""
    return pieces


class Drive:
    """`turn` is one control period: the microcontroller's turn, then the host's tick."""

    slack_us = 0
    """How much later things are seen than they are."""

    def __init__(
        self,
        table: Mapping[str, Any],
        keys: Keys,
        rng: Random,
        *,
        firmware: Mapping[str, Any] | None = None,
        mcu_clock: int | None = None,
        host_clock: int | None = None,
    ) -> None:
        """table: `edgeguard.config.mcu_dict`; it is what is judged by. firmware: another one that
        both ends run, to see whether the campaign notices. Clocks: where they start, 32 bits."""
        self.rng = rng
        self.us = 0
        self.period_us = int(table["link"]["period_us"])
        self._mcu_clock = rng.getrandbits(32) if mcu_clock is None else mcu_clock
        self._host_clock = rng.getrandbits(32) if host_clock is None else host_clock
        self._stands_us = 0, 0
        self._ppm = rng.randint(-100, 100)
        self.phase_us = rng.randint(2000, self.period_us - 1500)
        self.up_us, self.down_us = rng.randint(50, 1400), rng.randint(50, 700)
        self.turn_us = rng.randint(0, 2000)
        """Until what a turn decides is at the actuators."""
        runs = firmware or table
        self.channels = len(table["policy"]["channels"])
        self.twin = McuTwin(runs, keys, rng.randbytes(16), self.mcu_us(0))
        self.host = HostLink(runs, keys, nonce=rng.randbytes)
        self.vehicle = Vehicle()
        self.judge = Judge(Limits(table))
        self.decided: dict[int, tuple[int, tuple[int, ...], bool]] = {}
        """By number of the COMMAND: when, what, and whether engaged."""
        self.number = 0
        self.want = [0, 0]
        """What the host commands now, Q16.16."""
        self.engaged = True
        self.alive = True
        """The host's process runs."""
        self.change: Callable[[Decision], Decision | None] | None = None
        """A host that does it wrong: changes a decision before it is sent, or sends none."""
        self.stamp: Callable[[int], int] = lambda us: us
        """And what it takes for the time."""
        self.up: Wire = clean
        self.down: Callable[[bytes], bytes] = bytes
        self.asked_us = 0
        """When the question that is open now was asked."""
        self._asked = 0
        self.answered = 0
        """The question that was answered last; it may be asked again meanwhile."""
        self.booted = False
        """Whether the last turn ended in a reset."""
        self._reset_call = 0
        self._flying: list[tuple[int, int, Piece]] = []
        self._order = 0
        self._sensed: tuple[bool, bool] = (True, True)

    # ------------------------------------------------------------------ clocks

    def mcu_us(self, us: int) -> int:
        """What the microcontroller's clock shows then."""
        held = min(us, self._stands_us[0]) + max(0, us - self._stands_us[1])
        return (held + self._mcu_clock) & 0xFFFFFFFF

    def host_us(self, us: int) -> int:
        """What the host's clock shows then."""
        return self.stamp(self._host_clock + us + us * self._ppm // 1_000_000)

    def step_mcu_clock(self, by_us: int) -> None:
        """Its timer jumps."""
        self._mcu_clock += by_us

    def stop_mcu_clock(self, turns: int) -> None:
        """Its timer stands from its last turn on, for so many turns."""
        begins_us = self.us - self.period_us
        self._stands_us = begins_us, begins_us + turns * self.period_us

    # ---------------------------------------------------------------- the loop

    def arm(self) -> bool:
        """Begin the handshake and take turns until it is over. True: armed."""
        self.host.arm(self.host_us(self.us))
        self.send(self.us)
        for _ in range(ARM_TURNS):
            self.turn()
            if self.host.phase in (Phase.ARMED, Phase.REFUSED):
                break
        return self.host.phase is Phase.ARMED

    def roll(self, speed: float, angle: float) -> None:
        """A person drives until the vehicle is that fast, m/s and rad, and hands over."""
        self.engaged = False
        self.vehicle.speed, self.vehicle.angle = speed, angle
        for _ in range(3):
            self.vehicle.target, self.vehicle.steering = speed, angle
            self.turn(moves=False)
        self.want = [round(speed * ONE), round(angle * ONE)]
        self.engaged = True
        self.turns(2)

    @property
    def patience_us(self) -> int:
        """After what must stop it, until it is seen to stop."""
        return self.judge.limits.safe_us + self.slack_us

    def turns(self, n: int) -> None:
        """So many control periods."""
        for _ in range(n):
            self.turn()

    def turn(self, moves: bool = True) -> None:
        """One control period. moves: the vehicle follows the actuators, and no person."""
        at_us = self.us
        self.arrive(at_us)
        if moves:
            self._move()
        self._sense()
        raw = self.twin.raw
        before, acted = raw.resets + raw.pulled, raw.actuations
        raw.reset_in, self._reset_call = self._reset_call, 0
        data = self.twin.step(self.mcu_us(at_us))
        self.booted = raw.resets + raw.pulled != before
        if self.booted:
            self.judge.booted(at_us + self.turn_us)
        stopping = int(self.twin.raw.mcu.out.mode) == SAFE_STOP
        if not self.booted or raw.actuations != acted:
            self.judge.turn(at_us + self.turn_us, self.twin.actuator_q16, self.felt, stopping)
        if self.booted:
            self.judge.cut()
        self.us = at_us + self.period_us
        if self.alive:
            self._hear(data, at_us)
            self.tick(at_us + self.phase_us)

    def reset_in_turn(self, call: int) -> None:
        """Its reset line is pulled in the middle of the next turn, at that call of its board."""
        self._reset_call = call

    def reset(self, at_us: int) -> None:
        """Its reset line is pulled, between two turns."""
        self.arrive(at_us)
        self.twin.raw.now_us = self.mcu_us(at_us)
        self.twin.reset()
        self.judge.booted(at_us + self.turn_us)

    def _move(self) -> None:
        self.vehicle.target, self.vehicle.steering = self.twin.actuator
        self.vehicle.move(self.period_us / 1e6)

    @property
    def measured(self) -> tuple[int, int]:
        """What the sensors say, Q16.16 m/s and rad."""
        return round(self.vehicle.speed * ONE), round(self.vehicle.angle * ONE)

    @property
    def felt(self) -> Measured:
        """The same, None where a sensor failed."""
        speed, angle = self.measured
        return (speed if self._sensed[0] else None), (angle if self._sensed[1] else None)

    def sensors(self, speed: bool, steering: bool) -> None:
        """Which of them work."""
        self._sensed = (speed, steering)

    def _sense(self) -> None:
        speed, steering = self._sensed
        self.twin.sense(
            self.vehicle.speed if speed else None, self.vehicle.angle if steering else None
        )

    def _hear(self, data: bytes, sent_us: int) -> None:
        data = self.down(data)
        at_us = sent_us + self.down_us
        if not data:
            return
        self.host.receive(data, self.host_us(at_us))
        self.send(at_us)
        asked = self.host._question
        if asked and asked != self._asked:
            self._asked, self.asked_us = asked, sent_us

    # ---------------------------------------------------------------- the host

    def tick(self, at_us: int) -> None:
        """The host decides, once."""
        now = self.host_us(at_us)
        self.host.tick(now)
        self.number += 1
        decision: Decision | None = Decision(
            sequence=self.number,
            command_q16=tuple(self.want[: self.channels]),
            question=self.host.question(now),
            active=self.engaged,
        ).sign((1, 2, 3, 4, 5))
        self.decided[self.number] = at_us, tuple(self.want[: self.channels]), self.engaged
        if self.change is not None and decision is not None:
            decision = self.change(decision)
        if decision is not None:
            self.answered = decision.question or self.answered
            self.host.decided(decision, now)
            self.send(at_us)

    def send(self, at_us: int) -> None:
        """What the host has to say leaves it now."""
        arrives_us = at_us + self.up_us
        pieces = [
            Piece(arrives_us, u.data, u.kind, self.number if u.kind == COMMAND else 0)
            for u in self.host.take()
        ]
        if pieces:
            self.put(self.up(pieces))

    # ---------------------------------------------------------------- the wire

    def put(self, pieces: Iterable[Piece]) -> None:
        """Pieces begin to fly; those that arrive at the same time do so in this order."""
        for piece in pieces:
            self._order += 1
            heapq.heappush(self._flying, (piece.at_us, self._order, piece))

    def arrive(self, until_us: int) -> None:
        """Let arrive what is due, each at its time."""
        while self._flying and self._flying[0][0] <= until_us:
            piece = heapq.heappop(self._flying)[2]
            fits = self.twin.receive(piece.data) == len(piece.data)
            self.twin.listen(self.mcu_us(piece.at_us))
            if piece.number and fits:
                decided_us, command, engaged = self.decided[piece.number]
                self.judge.arrived(piece.at_us, piece.number, decided_us, command, engaged)
