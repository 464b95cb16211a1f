# SPDX-License-Identifier: Apache-2.0
"""What the host does wrong, or what happens to the vehicle: F15, F16, F19, F23, F24."""

from __future__ import annotations

from attrs import evolve

from firmware_bridge.campaign.case import Case, Fault
from firmware_bridge.campaign.drive import SAFE_STOP, Decision
from firmware_bridge.native import ONE, lib
from firmware_bridge.twin import MEMORIES

AFTER = 45
MOST = 2**31 - 1

# ------------------------------------------------------------------ F15


def winds_up(c: Case) -> None:
    """A person drives; meanwhile the host's command goes up, or down; then it takes over."""
    drive = c.start()
    kind = c.rng.choice(("up", "down", "flickers"))
    c.begin(kind)
    c.no_stop()
    drive.want[0] = {"up": 60 * ONE, "down": -60 * ONE}.get(kind, drive.want[0])
    drive.want[1] = c.rng.choice((-ONE, ONE))
    for _ in range(c.rng.randint(1, 6)):
        drive.engaged = False
        for _ in range(c.rng.randint(1, 5 if kind == "flickers" else 12)):
            # a frame is on its way while the person takes the wheel
            drive.vehicle.speed = max(0.0, drive.vehicle.speed + c.rng.uniform(-0.08, 0.05))
            c.go(1, wish=False, moves=False)
        drive.engaged = True
        c.go(c.rng.randint(2, 10), wish=False)
    c.go(5)


# ------------------------------------------------------------------ F16


def jumps(c: Case) -> None:
    """From everything to nothing in one frame, and back."""
    drive = c.start()
    kind = c.rng.choice(("to zero", "to full", "there and back", "beyond all numbers"))
    c.begin(kind)
    c.no_stop()
    ends = {"to zero": (0,), "to full": (33 * ONE,), "there and back": (0, 33 * ONE)}
    speeds = ends.get(kind, (MOST, -MOST - 1, 0))
    angles = (MOST, -MOST - 1) if kind == "beyond all numbers" else (-ONE // 2, ONE // 2)
    hold = c.rng.randint(1, 15)
    for turn in range(AFTER):
        if turn % hold == 0:
            drive.want[0] = speeds[turn // hold % len(speeds)]
            drive.want[1] = c.rng.choice(angles)
        c.go(1, wish=False)


# ------------------------------------------------------------------ F19


def _skipped(d: Decision, left_out: int) -> None:
    """The answer of a tick in which one check did not run."""
    crc = lib.eg_crc_u32(lib.eg_crc_u32(lib.EG_CRC_START, d.question), d.sequence & 0xFFFFFFFF)
    checks = list(d.checks)
    for i, found in enumerate(checks):
        if i != left_out:
            crc = lib.eg_crc_u32(lib.eg_crc_u32(crc, i), found)
    checks[left_out] = 0
    d.checks, d.answer = tuple(checks), lib.eg_crc_end(crc)


class _Liar:
    """Changes what a decision answers; says when the first wrong one arrives."""

    def __init__(self, c: Case, kind: str) -> None:
        self._c, self._kind = c, kind
        self._old: Decision | None = None
        self._left_out = c.rng.randrange(lib.EG_CHECKS)
        self._failed = False

    def __call__(self, d: Decision) -> Decision:
        old, self._old = self._old, evolve(d)
        drive = self._c.drive
        if self._kind == "lets go" and self._failed:
            d.active = False  # nobody asks for commands: it would end the stop
        if not d.question or d.question == drive.answered:
            return d
        if self._kind in {"no answer", "no verdict"}:
            d.question = 0
            self._fail(drive.asked_us)
            return d
        self._lie(d, old)
        self._fail(drive.decided[d.sequence][0] + drive.up_us)
        return d

    def _lie(self, d: Decision, old: Decision | None) -> None:
        if self._kind == "skips a check":
            _skipped(d, self._left_out)
        elif self._kind == "old answer" and old is not None:
            d.answer = old.answer
        elif self._kind == "old checks" and old is not None:
            d.checks, d.answer = old.checks, old.answer
        elif self._kind != "too early":
            d.answer ^= 1 << self._c.rng.randrange(32)

    def _fail(self, evidence_us: int) -> None:
        if not self._failed:
            self._failed = True
            self._c.stop(evidence_us)


def does_not_check(c: Case) -> None:
    """The host's loop runs and commands, but its checks do not, or not now."""
    kind = c.rng.choice(
        ("skips a check", "old answer", "old checks", "wrong answer", "no answer", "no verdict",
         "lets go", "frozen", *(() if c.live else ("too early",)))
    )  # fmt: skip
    drive = c.start()
    c.begin(kind)
    if kind == "frozen":
        drive.alive = False
        c.causes = frozenset({"LINK_LOST"})
        c.stop()
    else:
        drive.change = _Liar(c, kind)
    if kind == "too early":
        drive.down_us, drive.up_us = c.rng.randint(10, 80), c.rng.randint(10, 80)
        drive.phase_us = drive.down_us + 20
        drive.host.question = lambda now_us: drive.host._question  # type: ignore[method-assign]
    if kind == "no verdict":
        drive.up = lambda pieces: [p for p in pieces if p.kind != lib.EG_MSG_VERDICT]
    c.go(AFTER)
    if kind == "too early" and drive.twin.answers["early"] == 0 and "ANSWER_WRONG" not in c.seen:
        c.wrong("an early answer passes")


# ------------------------------------------------------------------ F23


def detected(c: Case) -> None:
    """Something is found to be wrong; then a command to stop has to leave, on every turn."""
    kind = c.rng.choice(
        ("host stops", "speed lost", "steering lost", "actuator stuck", "flash", "policy", "canary",
         "ram", "cannot send")
    )  # fmt: skip
    drive = c.start()
    twin = drive.twin
    c.begin(kind)
    if kind == "host stops":
        says_stop(c)
    elif kind in ("speed lost", "steering lost"):
        if drive.channels == 1:
            kind = "speed lost"
        c.causes = frozenset({"INPUT_INVALID"})
        drive.sensors(kind != "speed lost", kind != "steering lost")
        c.stop(drive.us)
    elif kind == "cannot send":  # nor ask: what nobody answers is late
        c.causes = frozenset({"ANSWER_WRONG", "LINK_LOST"})
        twin.block_transmitter(True)
        c.stop(drive.us)
    else:
        c.causes = frozenset({"SELF_TEST"})
        _break(c, kind)
    c.go(c.rng.choice((AFTER, 60)))


def says_stop(c: Case) -> None:
    """From the next tick on the host's mode is SAFE_STOP; it commands on."""
    drive = c.drive
    c.causes = frozenset({"PEER_STOPPED"})
    told = [0]

    def change(d: Decision) -> Decision:
        d.mode = SAFE_STOP
        told[0] = told[0] or drive.decided[d.sequence][0] + drive.up_us
        return d

    drive.change = change
    c.go(1)
    c.stop(told[0])


def _break(c: Case, kind: str) -> None:
    """Memory or an actuator fails, between two turns."""
    drive, twin = c.drive, c.drive.twin
    if kind == "actuator stuck":
        twin.stick(c.rng.randrange(drive.channels), 1 << c.rng.randrange(31))
        c.stop(drive.us)
        return
    part = {"policy": "config", "ram": c.rng.choice(("mcu", "record", "ram"))}.get(kind, kind)
    assert part in MEMORIES
    bits = 8 * len(twin.memory(part))
    for bit in c.rng.sample(range(bits), c.rng.randint(1, 3)):  # apart: two of one are none
        twin.flip(part, bit)
    if kind in ("policy", "canary", "flash"):
        c.stop(drive.us)


# ------------------------------------------------------------------ F24


def stops_in_a_curve(c: Case) -> None:
    """The stop keeps to the path, for two seconds at most, and within what the tyres hold."""
    kinds = ("host dies", "host steers straight", "reset", "angle lost")
    kind = c.rng.choice(kinds[:2] if c.live else kinds)
    drive = c.start((3.0, 20.0))
    sign = c.rng.choice((-1, 1))
    part = c.rng.uniform(0.3, 1.0)
    for _ in range(c.rng.randint(15, 60)):
        drive.want[1] = round(sign * part * drive.judge.limits.at(1, drive.measured).high)
        c.go(1, wish=False)
    long = not c.live and c.rng.random() < 0.2
    kind += ", long" if long else ""
    path = drive.want[1]
    c.begin(kind)
    if kind.startswith("host dies"):
        drive.alive = False
        c.causes = frozenset({"LINK_LOST"})
        c.stop()
    elif kind.startswith("host steers straight"):
        c.causes = frozenset({"PEER_STOPPED"})

        def straight(d: Decision) -> Decision:
            at_us, wanted, engaged = drive.decided[d.sequence]
            d.mode, d.command_q16 = SAFE_STOP, (0, 0)[: drive.channels]
            drive.decided[d.sequence] = at_us, (wanted[0], path), engaged
            return d.sign((1, 2, 3, 4, 5))

        drive.change = straight
        c.go(1, wish=False)
        c.stop(drive.decided[drive.number][0] + drive.up_us)
    elif kind.startswith("reset"):
        c.causes = frozenset({"NOT_ARMED"})
        at_us = drive.us - c.rng.randint(1, drive.period_us - 1)
        drive.reset(at_us)
        c.stop(at_us)
    else:
        c.causes = frozenset({"INPUT_INVALID"})
        drive.sensors(True, False)
        c.stop(drive.us)
    c.go(290 if long else AFTER, wish=False)
    if not long and kind != "reset" and not c.live:
        _kept(c)


def _kept(c: Case) -> None:
    """At the end it steers as at the beginning, as far as the limits over speed allow."""
    judge = c.drive.judge
    trusted = [turn for turn in judge.trace if c.tripped_us is None or turn.at_us < c.tripped_us]
    before, after = trusted[-1].steering, judge.trace[-1].steering
    limit = judge.limits.at(1, c.drive.felt)
    if abs(after - max(limit.low, min(limit.high, before))) > 8:
        c.wrong(f"left its path: {before / ONE:.4f} rad, then {after / ONE:.4f}")


FAULTS = (
    Fault("F15", "request bit low while the command winds up",
          "a person drives while the host commands full speed or none; then it takes over",
          frozenset(), winds_up),
    Fault("F16", "full command to zero in one frame",
          "the host's command jumps over its whole range, and back, up to once a frame",
          frozenset(), jumps),
    Fault("F19", "host loops and does not check",
          "a check left out, an old answer, one of other checks, too early, none; a frozen host",
          frozenset({"ANSWER_WRONG"}), does_not_check),
    Fault("F23", "fault found, no command issued",
          "the host stops, sensors fail, an actuator sticks, bits flip in flash, policy and RAM",
          frozenset({"SELF_TEST", "INPUT_INVALID", "PEER_STOPPED"}), detected),
    Fault("F24", "stop in a curve",
          "host dead or steering straight, reset, or steering angle lost, in a curve",
          frozenset({"LINK_LOST"}), stops_in_a_curve, steers=True),
)  # fmt: skip
