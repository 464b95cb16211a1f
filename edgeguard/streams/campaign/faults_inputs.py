# SPDX-License-Identifier: Apache-2.0
"""What comes in: frames, signals, requests, stamps: F04, F06, F15, F16, F20."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeguard._core import Mode
from edgeguard.config.policy import max_gap_ms
from edgeguard.streams.campaign.case import FRAME, MS, Case
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.faults_scores import not_numbers
from edgeguard.streams.campaign.puppets import say

ODD: tuple[Any, ...] = (
    float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 32768.0, -40000.0, None, "fast",
    2**70, [1.0], object(),
)  # fmt: skip
WRAPS_NS = (2**31 * 1000, 2**32 * 1000, 2**31 * MS, 2**32 * MS, 2**53, 2**61)
"""Where a counter of microseconds or milliseconds, a double or a careless sum runs over."""
LEAD_MS = 9000.0  # before it the guard sets out
NEAR_MS = 300.0  # so long before it at most the fault begins: less than any age that is too old


def frozen_camera(c: Case) -> None:
    """The same picture again, with stamps that go on; members go on answering what it shows, while
    other signs come."""
    c.start()
    c.begin("frozen", must_be_named=True)
    shown = np.full(FRAME, c.rng.randint(0, 255), np.uint8)
    shown += np.arange(FRAME[1], dtype=np.uint8)[None, :, None]
    ring = c.rng.choice((1, 1, 2, 3))  # a driver may hand out a ring of buffers
    c.pictures = [shown + np.uint8(n) for n in range(ring)]
    seen = c.sign
    c.speak = lambda m, true: (say(c.cards[m], seen, c.rng), c.rng.uniform(0.05, 1.0) * c.latest_ms)
    c._next_sign_ms = c.now_ms + c.rng.uniform(0, 300)
    # Each buffer is new once; the next frame is the evidence.
    c.must(c.bound_ms("FROZEN_INPUT") + c.frames_ms(1 + ring))
    c.last()
    c.end()
    c.recover()


def no_frames(c: Case) -> None:
    """The camera delivers nothing any more."""
    c.start()
    c.begin("no frames", must_be_named=True)
    c.frames = False
    c.must(c.bound_ms("FRAME_LOST", "STALE_MODEL", silence=True))
    c.last()
    c.end()
    c.recover()


def camera(c: Case) -> None:
    """F04: frozen, and now and then gone."""
    (frozen_camera if c.rng.random() < 0.8 else no_frames)(c)


def odd_signals(c: Case) -> None:
    """A declared signal, or `engaged`, is no number, or far outside of its range, or missing."""
    c.start()
    name = c.rng.choice((*c.config.signals, "engaged"))
    value = c.rng.choice(ODD)
    if name == "engaged" and isinstance(value, int | float) and not math.isnan(value):
        value = "maybe"  # any finite number says yes or no
    c.begin(f"{name} = {value!r:.12}", must_be_named=True)
    c.signals[name] = value
    c.must(c.bound_ms("INPUT_INVALID") + c.period_ms, Mode.SAFE_STOP)
    c.go(c.rng.uniform(300, 1500))
    c.end()
    c.recover()


def odd_numbers(c: Case) -> None:
    """F06: in one of the places where numbers come in."""
    c.rng.choice((odd_signals, not_numbers))(c)


def wind_up(c: Case) -> None:
    """Nobody asks for commands while the members ask for more; then somebody does again."""
    c.start()
    c.begin("released")
    measured = c.config.channels[c.means.channel].measured
    if measured is None:
        c.kind = "no measured value"
        return
    c.engaged = False
    limits = c.config.channels[c.means.channel].range
    for _ in range(c.rng.randint(1, 4)):
        value = c.rng.uniform(limits.low, limits.high)
        c.signals[measured] = value
        c.judge.measured = int(value * 65536) / 65536
        c.go(c.rng.uniform(30, 600))
    c.signals.clear()
    c.car.speed = value
    c.engaged, c.judge.measured = True, None
    c.judge.allow(c.now_ms, value)  # it starts from there, and comes down to the limit
    c.go(c.judge.react_ms + c.rng.uniform(0, 1000))
    c.end()


def full_to_zero(c: Case) -> None:
    """The members ask for the most and for the least in turn, as fast as frames come; the least
    stays."""
    c.start()
    c.begin("to and fro")
    c._next_sign_ms = float("inf")
    least = c.rng.choice(c.means.stops or c.means.labels[:1])
    for _ in range(c.rng.randint(1, 6)):
        for sign in (c.means.labels[-1], least):
            c._show(sign)
            c.go(c.rng.uniform(1, 4) * c.frame_ms)
    c.go(c.judge.react_ms + c.rng.uniform(0, 1000))
    c.end()


def clocks(c: Case, what: Callable[[Case], None] | None = None) -> None:
    """F20: a clock passes where counters wrap, or jumps near there; what: only this."""
    wrap_ns = c.rng.choice(WRAPS_NS)
    behind_ns = c.now_ns + int(LEAD_MS * MS) - wrap_ns
    c.stamp = lambda t_ns: t_ns - behind_ns
    c.start()
    left_ms = (wrap_ns - c.stamp(c.now_ns)) / MS
    if left_ms < NEAR_MS:
        raise RuntimeError(f"set out for {LEAD_MS - left_ms:.0f} ms, and the clock has wrapped")
    c.go(left_ms - c.rng.uniform(2 * c.period_ms, NEAR_MS))
    (what or c.rng.choice((wraps, silent_over_the_wrap, jumps, jumps, jumps)))(c)


def wraps(c: Case) -> None:
    """A clock that passes there is no fault."""
    c.begin("wraps")
    c.go(NEAR_MS + c.rng.uniform(500, 2000))
    if c.worst >= Mode.FALLBACK:
        c.trips_falsely("when a counter wraps")
    c.named = None  # there is nothing to name: a sign that passes is none of its causes
    c.end()


def silent_over_the_wrap(c: Case) -> None:
    """The members say nothing any more shortly before it: what they said gets old all the same."""
    c.begin("silent over the wrap", True, frozenset({"STALE_MODEL", "MEMBER_LOST", "FRAME_LOST"}))
    c.speak = lambda m, true: None
    c.must(c.bound_ms("STALE_MODEL", silence=True))
    c.last()
    c.end()
    c.recover()


def jumps(c: Case) -> None:
    """A step back or ahead is a fault."""
    usual = c.stamp
    gap_ms = max_gap_ms(c.config)  # below it a step ahead is a pause that may be
    jump_ms = c.rng.choice((-c.period_ms, gap_ms)) * 10 ** c.rng.uniform(0.01, 6)
    c.begin("steps back" if jump_ms < 0 else "steps ahead", must_be_named=True)
    step_ns = int(jump_ms * MS)
    c.stamp = lambda t_ns: usual(t_ns) + step_ns
    c.must(c.bound_ms("TIME_FAULT") + c.period_ms)
    c.last()
    c.end()
    c.recover()


FAULTS = (
    Fault("F04", "camera frozen", "the same picture with new stamps; or no picture",
          frozenset({"FROZEN_INPUT", "FRAME_LOST", "STALE_MODEL", "MEMBER_LOST"}), camera),
    Fault("F06", "numbers that are none", "NaN, Inf, huge, odd objects: as scores, as signals",
          frozenset({"SCORE_INSANE", "STALE_MODEL", "INPUT_INVALID"}), odd_numbers),
    Fault("F15", "winds up while released", "engaged = 0 while the members ask for more, then 1",
          frozenset(), wind_up),
    Fault("F16", "full command to zero", "the highest and the lowest label in turn",
          frozenset(), full_to_zero),
    Fault("F20", "clocks wrap and step", "stamps that pass 2^31 and 2^32 us and ms; jumps",
          frozenset({"TIME_FAULT"}), clocks),
)  # fmt: skip
