# SPDX-License-Identifier: Apache-2.0
"""Faults of how faults are dealt with: F21, F22, F23, F27."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import frozen

from edgeguard._core import CAUSES, Mode
from edgeguard.config.policy import max_gap_ms
from edgeguard.streams.campaign.case import MS, Case
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.puppets import Scores

AT_ONCE = 9  # that are present together, at least: PX4 had eight slots
OTHERS = ("LINK_LOST", "LINK_FAULTY", "PEER_STOPPED", "BUS_INTRUSION", "ASSOCIATION_BROKEN",
          "IMAGE_UNHEALTHY", "OUT_OF_DISTRIBUTION")  # fmt: skip
"""Causes that somebody else may find, and say so to the guard."""
WAYS = ("silent", "late", "insane")


def many_at_once(c: Case) -> None:
    """Silent, late and insane members, repeated frames, a clock that jumps, a lost signal and what
    others find, in random order: the worst of them comes somewhere among them and stays."""
    c.start()
    c.begin("many", must_be_named=True)
    acts = [partial(act, c) for act in (_spoil_members, _freeze, _jump, _lose_signal)]
    acts += [partial(_find, c, cause=cause) for cause in OTHERS]
    c.rng.shuffle(acts)
    for act in acts:
        act()
        c.go(c.rng.uniform(1, 60))
    c.last()
    if c.mode is not Mode.SAFE_STOP:
        c.wrong(f"{c.mode} where SAFE_STOP is the worst")
    if len(c.decision.present) < AT_ONCE:
        c.wrong(f"only {len(c.decision.present)} causes at once: {c.decision.present}")
    c.end()


def _spoil_members(c: Case) -> None:
    """Each in one of the ways, all of them where there are members enough."""
    first = c.rng.randrange(len(WAYS))
    ways = {m: WAYS[(first + n) % len(WAYS)] for n, m in enumerate(c.members)}

    def speak(member: str, true: Scores) -> tuple[Any, float] | None:
        if ways[member] == "silent":
            return None
        if ways[member] == "late":
            return true, c.config.members[member].deadline_ms + c.rng.uniform(10, 50)
        return [float("nan")] * len(true), c.latest_ms

    c.speak = speak


def _freeze(c: Case) -> None:
    c.pictures = [c.picture]


def _jump(c: Case) -> None:
    usual, first_ns = c.stamp, c.now_ns
    jump_ns = int(max_gap_ms(c.config) * 10 * MS)
    c.stamp = lambda t_ns: usual(t_ns) + (jump_ns if t_ns > first_ns else 0)


def _lose_signal(c: Case) -> None:
    c.signals[_a_signal(c)] = float("nan")
    c.must(c.bound_ms("INPUT_INVALID") + c.period_ms, Mode.SAFE_STOP)


def _find(c: Case, cause: str) -> None:
    c.noted |= 1 << CAUSES.index(cause)


def _a_signal(c: Case) -> str:
    measured = c.config.channels[c.means.channel].measured
    return measured or next(iter(c.config.signals), "engaged")


# ------------------------------------------------------------------- flaps


@frozen
class Flap:
    """Something that is there for `on` steps of `of`, a step being so many control periods."""

    what: str
    cause: str
    put: Callable[[bool], None]
    step: int
    on: int
    of: int
    least: Mode = Mode.FALLBACK
    """What has to follow."""

    def go(self, c: Case, waits_ms: float = 0.0) -> None:
        """Until it has acted, and on for some time, in which it has to go on acting: it is never
        absent for as long as would let it go. waits_ms: until the guard can see it."""
        c.begin(f"{self.what}: {self.on} of {self.of}", True, frozenset({self.cause}))
        bound_ms = c.bounds[self.cause].flapping_ms + waits_ms
        c.must(bound_ms, self.least)
        left = 0
        lasts_ms = bound_ms + min(c.config.causes[self.cause].off_ms, 1000) + 300
        for n in range(round(lasts_ms / c.period_ms)):
            if n % self.step == 0:
                self.put(n // self.step % self.of < self.on)
            acted, before = c.safe_us is not None, c.mode
            c.turn()
            left += acted and c.mode < self.least <= before
        if left:
            c.wrong(f"chatters: lets go {left} times while it flaps")
        c.end()


def flapping(c: Case) -> None:
    """F22: a fault that latches, or one that clears itself."""
    ways = [_signal_flaps]
    if c.config.cameras and c.config.causes["FROZEN_INPUT"].off_ms > 2 * c.frame_ms:
        ways.append(_camera_flaps)
    if _findings(c):
        ways.append(_finding_flaps)
    c.start()
    c.rng.choice(ways)(c)
    c.recover()


def _share(c: Case, most: float) -> tuple[int, int]:
    """(on, of): more than 20 % of so many steps at most, and not all of them."""
    of = c.rng.randint(2, max(2, int(most)))
    return c.rng.randint(of // 5 + 1, max(of // 5 + 1, of * 9 // 10)), of


def _signal_flaps(c: Case) -> None:
    """A signal is no number on some ticks: the guard stops for good."""
    name = _a_signal(c)

    def put(there: bool) -> None:
        c.signals = {name: float("nan")} if there else {}

    Flap("signal", "INPUT_INVALID", put, 1, *_share(c, 40), Mode.SAFE_STOP).go(c)


def _camera_flaps(c: Case) -> None:
    """The camera repeats its last picture on some frames."""
    each_ms = c.frames_ms(2) - c.frames_ms(1)
    share = _share(c, c.config.causes["FROZEN_INPUT"].off_ms / each_ms - 1)

    def put(there: bool) -> None:
        c.pictures = [c.picture] if there else []

    Flap("camera", "FROZEN_INPUT", put, round(each_ms / c.period_ms), *share).go(c, c.frames_ms(1))


def _finding_flaps(c: Case) -> None:
    """Somebody else finds something on some ticks."""
    cause = c.rng.choice(_findings(c))
    share = _share(c, min(40, c.config.causes[cause].off_ms / c.period_ms - 2))

    def put(there: bool) -> None:
        c.noted = 1 << CAUSES.index(cause) if there else 0

    Flap(cause, cause, put, 1, *share).go(c)


def _findings(c: Case) -> list[str]:
    """Those that clear themselves, though not at once."""
    rows = {n: c.config.causes[n] for n in OTHERS}
    return [
        n for n, row in rows.items()
        if (row.severity, row.clears) == ("FALLBACK", "itself") and row.off_ms > 4 * c.period_ms
    ]  # fmt: skip


# ------------------------------------------------------------- no command


def no_command(c: Case) -> None:
    """Everything is lost at once: a command leaves on every tick, and it is that of the rules."""
    c.start()
    c.begin("all silent", must_be_named=True)
    c.speak = lambda m, true: None
    c.frames = c.rng.random() < 0.5
    c.must(c.bound_ms("STALE_MODEL", silence=True))
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
    """The controller is lost, as a shadow or while it commands: SAFE_STOP, a controlled stop."""
    c.start()
    how = c.rng.choice(("raises", "exits", "nan", "none", "text", "huge", "late"))
    commands = c.rng.random() < 0.5
    if commands:
        c.speak = lambda m, true: None
        c.go(c.bound_ms("STALE_MODEL", silence=True) + c.rng.uniform(0, 1000))
        if c.mode is not Mode.FALLBACK:
            c.wrong(f"{c.mode} although nobody suggests anything")
    c.begin(f"{how}, {'commanding' if commands else 'a shadow'}", must_be_named=True)
    c.judge.allow(c.now_ms, c.command)  # it may stay where it is until the loss acts
    shadow = c.guard._parts.shadow
    good = shadow._controllers
    late_s = c.config.controller.budget_ms * 1.5e-3
    shadow._controllers = tuple((name, Broken(how, late_s)) for name, _ in good)
    c.must(c.bound_ms("CONTROLLER_LOST") + c.period_ms, Mode.SAFE_STOP)
    stop = c.config.channels[c.means.channel].stop
    for _ in range(3 + round(c.config.causes["CONTROLLER_LOST"].on_ms / c.period_ms)):
        before = c.command
        c.turn()
        if commands and not min(before, stop) <= c.command <= max(before, stop):
            c.wrong("a rule that is lost is followed")
    for _ in range(3):  # while it lasts, and when it is over
        before = c.command
        c.go(100)
        if c.mode is not Mode.SAFE_STOP or not min(before, stop) <= c.command <= max(before, stop):
            c.wrong(f"{c.mode}: no controlled stop")
        shadow._controllers = good
    c.end()


FAULTS = (
    Fault("F21", "many faults at once", "silent, late and insane members, repeated frames, a clock "
          f"jump, a lost signal, and what others find: {AT_ONCE} at once at least",
          frozenset({"INPUT_INVALID", "STALE_MODEL", "MEMBER_LOST", "FROZEN_INPUT", "TIME_FAULT",
                     "LATE", "SCORE_INSANE", "OVERRUN", *OTHERS}), many_at_once),
    Fault("F22", "a fault flaps", "an invalid signal, repeated frames, or what others find, just "
          "above 20 to 90 % of the time, at any frequency", frozenset(), flapping),
    Fault("F23", "no command", "all members and cameras silent: what leaves on every tick",
          frozenset({"STALE_MODEL", "MEMBER_LOST", "FRAME_LOST", "OPERATION_DENIED"}), no_command),
    Fault("F27", "the rules are lost", "the controller raises, exits, is late or returns no number",
          frozenset({"CONTROLLER_LOST"}), lost_rules),
)  # fmt: skip
