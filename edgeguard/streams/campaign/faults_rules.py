# SPDX-License-Identifier: Apache-2.0
"""Faults of how faults are dealt with: F21, F22, F23, F27."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from edgeguard._core import Mode
from edgeguard.config.bounds import FLAPPING
from edgeguard.streams.campaign.case import Case, Fault


def many_at_once(c: Case) -> None:
    """As many faults as there are, in random order, the worst of them somewhere among them."""
    c.start()
    c.begin("many", must_be_named=True)
    measured = c.config.channels[c.means.channel].measured
    kinds = ["silent", "frozen", "denied", "jump", "signal"]
    c.rng.shuffle(kinds)
    name = measured or next(iter(c.config.signals), "engaged")
    for kind in kinds:
        if kind == "silent":
            c.speak = lambda m, true: None
        elif kind == "frozen":
            c.frames = False
        elif kind == "jump":
            first = c.now_ns
            c.stamp = lambda t_ns, first=first: t_ns + (10**12 if t_ns > first else 0)  # type: ignore[misc]
        elif kind == "signal":
            c.signals[name] = float("nan")
            c.must(c.bound_ms("INPUT_INVALID") + c.period_ms, Mode.SAFE_STOP)
        c.go(c.rng.uniform(1, 60))
    c.go(c.rng.uniform(300, 1500))
    if c.mode is not Mode.SAFE_STOP:
        c.wrong(f"{c.mode} where SAFE_STOP is the worst")
    c.end()


def flapping(c: Case) -> None:
    """A fault that is there 25 to 90 % of the time, at any frequency, acts within its bound."""
    c.start()
    share = c.rng.uniform(0.25, 0.9)
    period = c.rng.randint(2, 40)
    on = max(1, -(-int(share * 1000 * period) // 1000))
    c.begin(f"{on} of {period} ticks", must_be_named=True)
    name = c.config.channels[c.means.channel].measured or next(iter(c.config.signals))
    row = c.config.causes["INPUT_INVALID"]
    c.must(FLAPPING * row.on_ms + 2 * c.period_ms + period * c.period_ms, Mode.SAFE_STOP)
    for n in range(int(1.2 * FLAPPING * row.on_ms / c.period_ms) + 2 * period):
        c.signals = {name: float("nan")} if n % period < on else {}
        c.turn()
        if c.safe_us is not None:
            break
    c.go(200)
    if c.mode is not Mode.SAFE_STOP:
        c.wrong("leaves SAFE_STOP while it flaps")
    c.end()


def no_command(c: Case) -> None:
    """Everything is lost at once: a command leaves on every tick, and it is that of the rules."""
    c.start()
    c.begin("all silent", must_be_named=True)
    c.speak = lambda m, true: None
    c.frames = c.rng.random() < 0.5
    c.must(c.bound_ms("STALE_MODEL", silence=True) + c.frame_ms + c.latest_ms)
    sequence = c.decision.sequence
    turns, fell = round(c.rng.uniform(1500, 3000) / c.period_ms), False
    for n in range(1, turns + 1):
        before = c.command
        c.turn()
        if c.decision.sequence != sequence + n:
            c.wrong("a tick without a decision")
        if c.mode >= Mode.FALLBACK and c.command > before:
            c.wrong("rises although nobody suggests anything")
        fell |= c.command < before
    if not fell and before > min(v for _, v in c.means.labels):
        c.wrong("the fallback command never came")
    c.end()
    c.recover()


class Broken:
    """A rule-based controller that raises, is late, or returns what is no number."""

    def __init__(self, how: str, budget_s: float) -> None:
        self.how, self.budget_s = how, budget_s

    def __call__(self, signals: Mapping[str, float], last: float, t_ns: int) -> Any:
        if self.how == "raises":
            raise ZeroDivisionError("lost")
        if self.how == "exits":
            raise SystemExit(3)
        if self.how == "late":
            time.sleep(self.budget_s)
            return last
        return {"nan": float("nan"), "none": None, "text": "5.0", "huge": 1e300}[self.how]


def lost_rules(c: Case) -> None:
    """The controller is lost while it is only a shadow: SAFE_STOP, latched, a controlled stop."""
    c.start()
    how = c.rng.choice(("raises", "exits", "nan", "none", "text", "huge", "late"))
    c.begin(how, must_be_named=True)
    shadow = c.guard._parts.shadow
    good = shadow._controllers
    late_s = c.config.controller.budget_ms * 1.5e-3
    shadow._controllers = tuple((name, Broken(how, late_s)) for name, _ in good)
    c.must(c.bound_ms("CONTROLLER_LOST") + c.period_ms, Mode.SAFE_STOP)
    c.go(3 * c.period_ms + c.config.causes["CONTROLLER_LOST"].on_ms)
    for _ in range(3):  # while it lasts, and when it is over
        before = c.command
        c.go(100)
        stop = c.config.channels[c.means.channel].stop
        if c.mode is not Mode.SAFE_STOP or not min(before, stop) <= c.command <= max(before, stop):
            c.wrong(f"{c.mode}: no controlled stop")
        shadow._controllers = good
    c.end()


FAULTS = (
    Fault("F21", "many faults at once", "silence, frozen frames, a clock jump and a lost signal",
          frozenset({"INPUT_INVALID", "STALE_MODEL", "MEMBER_LOST", "FRAME_LOST", "TIME_FAULT",
                     "LATE", "SCORE_INSANE", "OVERRUN"}), many_at_once),
    Fault("F22", "a fault flaps", "an invalid signal on 25 to 90 % of the ticks, at any frequency",
          frozenset({"INPUT_INVALID"}), flapping),
    Fault("F23", "no command", "all members and cameras silent: what leaves on every tick",
          frozenset({"STALE_MODEL", "MEMBER_LOST", "FRAME_LOST", "OPERATION_DENIED"}), no_command),
    Fault("F27", "the rules are lost", "the controller raises, exits, is late or returns no number",
          frozenset({"CONTROLLER_LOST"}), lost_rules),
)  # fmt: skip
