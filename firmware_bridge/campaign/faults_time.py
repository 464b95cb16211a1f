# SPDX-License-Identifier: Apache-2.0
"""Resets, clocks, and faults that come and go: F18, F20, F22."""

from __future__ import annotations

from firmware_bridge.campaign.case import Case, Fault
from firmware_bridge.campaign.drive import Piece
from firmware_bridge.campaign.faults_link import too_many
from firmware_bridge.native import CAUSES, ONE, lib

AFTER = 45
WRAP = 2**32

# ------------------------------------------------------------------ F18


def resets(c: Case) -> None:
    """Its reset line is pulled, once or twice, while driving, stopping or arming."""
    again = c.rng.random() < 0.15
    deaf = not again and c.rng.random() < 0.3
    drive = c.start((1.0, 2.5) if again else (2.0, 30.0))
    twice = c.rng.random() < 0.6
    c.begin(f"{'twice' if twice else 'once'}{', armed again' if again else ''}"
            f"{', host deaf' if deaf else ''}")  # fmt: skip
    if deaf:  # it never hears of the reset, and goes on in the old session
        drive.down = lambda data: b""
    c.stop(_reset(c))
    if twice:
        c.go(c.rng.choice((0, 1, 2, c.rng.randint(3, 30))))
        if c.rng.random() < 0.5 and not deaf:
            drive.host.arm(drive.host_us(drive.us))
            drive.send(drive.us)
            c.go(c.rng.randint(0, 2))
        _reset(c)
    c.go(AFTER)
    if int(drive.twin.raw.record.resets) != 1 + twice:
        c.wrong("lost count of its resets")
    boot = drive.host.boot
    if not deaf and (boot is None or boot.resets != 1 + twice):
        c.wrong("does not tell the host of its resets")
    if again:
        _arm_again(c)


def _reset(c: Case) -> int:
    """Between two turns, or in the middle of one; returns when."""
    raw = c.drive.twin.raw
    pulled = raw.pulled
    while c.rng.random() < 0.5 and raw.pulled == pulled:
        c.drive.reset_in_turn(c.rng.randint(1, 12))  # a turn may have fewer calls
        c.go(1)
    if raw.pulled > pulled:
        return c.drive.us - c.drive.period_us
    at_us = c.drive.us - c.rng.randint(1, c.drive.period_us - 1)
    if c.onset_us == c.drive.us:
        c.onset_us = at_us
    c.drive.reset(at_us)
    return at_us


def _arm_again(c: Case) -> None:
    """Not while it moves; at standstill it is as good as new."""
    drive = c.drive
    if drive.vehicle.speed > 0.2 and drive.arm():
        c.wrong("arms while it moves")
    for _ in range(60):
        if drive.vehicle.speed < 0.05 and drive.twin.actuator_q16[0] == 0:
            break
        c.go(10)
    c.close()
    drive.judge.begin()
    drive.want[:] = [0, drive.twin.actuator_q16[1]]
    drive.judge.on = False
    if not drive.arm():
        c.wrong(f"cannot be armed again: {drive.host.refusal}")
        return
    drive.judge.on = True
    drive.want[0] = 3 * ONE
    c.go(15, wish=False)
    if drive.twin.mode != "NOMINAL" or drive.twin.actuator_q16[0] == 0:
        c.wrong("does not drive after arming again")


# ------------------------------------------------------------------ F20


def clocks(c: Case) -> None:
    """Timers wrap, step, jump or stand; nothing old may look new, nothing may stop for it."""
    kind = c.rng.choice(
        ("timer wraps", "host's clock wraps", "both wrap", "wraps, host dies", "host's clock steps",
         "timer jumps", "timer stands")
    )  # fmt: skip
    near: dict[str, int] = {}
    if "wrap" in kind:
        ends = ["mcu_clock", "host_clock"]
        if kind in {"timer wraps", "host's clock wraps"}:
            ends = ends[:1] if kind == "timer wraps" else ends[1:]
        near = {end: WRAP - c.rng.randint(200_000, 750_000) for end in ends}
    drive = c.start(clocks=near)
    c.begin(kind)
    if kind == "wraps, host dies":
        c.go(c.rng.randint(0, 25))
        drive.alive = False
        c.stop()
    elif kind == "host's clock steps":
        by_us = c.rng.choice((-1, 1)) * round(10 ** c.rng.uniform(4.6, 9.2))
        drive.stamp = lambda us: us + by_us
        c.stop()
    elif kind == "timer jumps":
        drive.step_mcu_clock(c.rng.choice((-1, 1)) * round(10 ** c.rng.uniform(5.1, 9.2)))
        c.stop(drive.us)
    elif kind == "timer stands":
        drive.stop_mcu_clock(c.rng.randint(1, 3))
        c.stop(drive.us)
    else:
        c.no_stop()
    c.go(80 if "wrap" in kind else AFTER)


# ------------------------------------------------------------------ F22


def flaps(c: Case) -> None:
    """A fault comes and goes, at any frequency."""
    kind = c.rng.choice(
        ("link", "answers", *(() if c.live else ("speed sensor", "steering sensor")))
    )
    drive = c.start()
    if drive.channels == 1 and kind == "steering sensor":
        kind = "speed sensor"
    length = c.rng.randint(2, 60)
    present = c.rng.randint(
        1, max(1, min(length - 1, round(length * c.rng.choice((0.1, 0.3, 0.9)))))
    )
    shift = c.rng.randrange(length)
    history: list[bool] = []
    bad = [False]

    def up(pieces: list[Piece]) -> list[Piece]:
        if not bad[0] or "sensor" in kind:
            return pieces
        return [] if kind == "link" else [p for p in pieces if p.kind != lib.EG_MSG_ANSWER]

    drive.up = up
    c.causes = {
        "link": frozenset({"LINK_LOST", "LINK_FAULTY", "ANSWER_WRONG"}),
        "answers": frozenset({"ANSWER_WRONG"}),
    }.get(kind, frozenset({"INPUT_INVALID"}))
    c.begin(f"{kind} {present} of {length}")
    must_us: int | None = None
    for turn in range(c.rng.randint(60, 110)):
        bad[0] = (turn + shift) % length < present
        history.append(bad[0])
        drive.sensors(
            not (bad[0] and kind == "speed sensor"), not (bad[0] and kind == "steering sensor")
        )
        c.go(1)
        if must_us is None and _too_often(c, kind, history):
            must_us = drive.us
    if must_us is None:
        if _harmless(kind, history):
            c.no_stop()
    elif drive.us > must_us + drive.patience_us:
        c.stop()
        if c.tripped_us is None or c.tripped_us > must_us + drive.patience_us:
            c.wrong(
                f"present often enough from {(must_us - c.onset_us) // 1000} ms on, and no stop"
            )


def _too_often(c: Case, kind: str, history: list[bool]) -> bool:
    """The bound that the policy promises: more than 20 % of a window."""
    if kind == "link":
        return too_many(history)
    if kind == "answers":
        return len(history) >= 6 and all(history[-6:])
    on_us = c.table["policy"]["causes"][CAUSES.index("INPUT_INVALID")]["on_us"]
    window = 10 * on_us // c.drive.period_us
    return bool(len(history) >= window and sum(history[-window:]) * 5 > window)


def _harmless(kind: str, history: list[bool]) -> bool:
    """No rule can be broken by this."""
    if kind in ("link", "answers"):
        return all(sum(history[i : i + 16]) <= 2 for i in range(len(history)))
    return all(sum(history[i : i + 9]) <= 1 for i in range(len(history)))


FAULTS = (
    Fault("F18", "resets in the middle, twice",
          "the reset line is pulled between two turns, again while it stops or arms",
          frozenset({"NOT_ARMED"}), resets),
    Fault("F20", "timer wraps, clock steps",
          "32-bit clocks of both ends wrap, while driving or when the host dies; they step, stand",
          frozenset({"TIME_FAULT", "LINK_LOST", "LINK_FAULTY", "ANSWER_WRONG", "NOT_ARMED"}),
          clocks),
    Fault("F22", "fault flaps",
          "link, sensors or answers fail in periods of 20 to 600 ms, from 2 to 90 % of the time",
          frozenset({"LINK_LOST", "LINK_FAULTY", "ANSWER_WRONG"}), flaps),
)  # fmt: skip
