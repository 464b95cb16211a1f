# SPDX-License-Identifier: Apache-2.0
"""What members deliver, or do not: F03, F05, F07, and the scores of F06."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeguard.streams.campaign.case import Case
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.puppets import Scores, no_quorum, say


def _some_members(c: Case) -> tuple[set[str], bool]:
    """A random set of members, and whether without it no operation has its quorum."""
    hit = set(c.rng.sample(c.members, c.rng.randint(1, len(c.members))))
    return hit, no_quorum(c.config, c.means.channel, hit)


def _hit(c: Case, hit: set[str], twist: Callable[[str, Scores], tuple[Any, float] | None]) -> None:
    """From now on these members deliver something else."""
    usual_ms = c.latest_ms

    def speak(member: str, true: Scores) -> tuple[Any, float] | None:
        if member not in hit:
            return true, c.rng.uniform(0.05, 1.0) * usual_ms
        return twist(member, true)

    c.speak = speak


def late(c: Case) -> None:
    """Results come after their deadline, and say whatever they like, most of it daring."""
    c.start()
    hit, lost = _some_members(c)
    c.begin(f"{len(hit)} late", must_be_named=True)
    most = max(c.config.members[m].deadline_ms for m in hit)
    extra = c.rng.uniform(1.0, 3.0)

    def twist(member: str, true: Scores) -> tuple[Any, float]:
        label = c.rng.choice(c.means.labels[-2:])[0]
        return say(c.cards[member], label, c.rng), (most + 1) * extra

    _hit(c, hit, twist)
    if lost:  # what they said in time is still heard until it is too old
        c.must(c.bound_ms("STALE_MODEL", silence=True))
    c.last()
    c.end()
    c.recover()


def nothing(c: Case) -> None:
    """Empty answers, or none at all, while everything runs."""
    c.start()
    hit, lost = _some_members(c)
    silent = c.rng.random() < 0.4
    c.begin(f"{len(hit)} {'silent' if silent else 'empty'}", must_be_named=True)
    empty: tuple[Any, ...] = ([], None, (), np.empty(0, np.float32))

    def twist(member: str, true: Scores) -> tuple[Any, float] | None:
        return None if silent else (c.rng.choice(empty), c.rng.uniform(0.05, 1.0) * c.latest_ms)

    _hit(c, hit, twist)
    if lost:
        waits_ms = 0.0 if silent else c.frames_ms(1) + c.latest_ms  # for the first empty answers
        c.must(c.bound_ms("STALE_MODEL", silence=silent) + waits_ms)
    c.last()
    c.end()
    c.recover()


def _odd_numbers(c: Case, true: Scores) -> Any:
    """NaN, infinities and the largest floats where the border reads numbers."""
    odd = c.rng.choice((np.nan, np.inf, -np.inf, 3.4e38, 1e300))
    spoilt = true.astype(np.float64)
    for at in c.rng.sample(range(len(spoilt)), c.rng.randint(1, len(spoilt))):
        spoilt[at] = odd
    with np.errstate(over="ignore"):
        return spoilt.astype(np.float32) if c.rng.random() < 0.5 else spoilt


def not_numbers(c: Case) -> None:
    """Scores that are NaN, infinite, of another kind or another length."""

    def twist(c: Case, member: str, true: Scores) -> Any:
        choice = c.rng.randint(0, 3)
        if choice == 0:
            return true[: c.rng.randint(1, len(true) - 1)]
        if choice == 1:
            return c.rng.choice(("scores", object(), {"a": 1}, [[1.0, 2.0]] * 3))
        return _odd_numbers(c, true)

    _insane(c, "not numbers", twist)


def saturated(c: Case) -> None:
    """Scores at the rail, of two values, or one value alone: a quantization gone wrong."""

    def twist(c: Case, member: str, true: Scores) -> Any:
        spec = c.cards[member].scores
        if spec.dtype == "float32":
            low, high = (0.0, 2.0) if spec.kind == "probabilities" else (-3e38, 3e38)
        else:
            limits = np.iinfo(np.dtype(spec.dtype))
            low, high = float(limits.min), float(limits.max)
        kind = c.rng.randint(0, 2)
        if kind == 0:
            return np.full(len(true), c.rng.choice((low, high, (low + high) // 2)), true.dtype)
        ones = c.rng.randint(2, len(true) - 1)  # one maximum alone may be a sure answer
        if kind == 1:
            ones = max(ones, 8)
        made = np.full(len(true), low, true.dtype)
        made[c.rng.sample(range(len(true)), ones)] = high
        return made

    _insane(c, "saturated", twist)


def _insane(c: Case, kind: str, twist: Callable[[Case, str, Scores], Any]) -> None:
    """What no sane model says: the member abstains from the first of them on."""
    c.start()
    hit, lost = _some_members(c)
    c.begin(f"{len(hit)} {kind}", must_be_named=True)
    _hit(c, hit, lambda m, true: (twist(c, m, true), c.rng.uniform(0.05, 1.0) * c.latest_ms))
    if lost:
        c.must(c.bound_ms("SCORE_INSANE", "STALE_MODEL") + c.frames_ms(1) + c.latest_ms)
    c.last()
    c.end()
    c.recover()


FAULTS = (
    Fault("F03", "results come late", "scores delivered after the deadline, with daring labels",
          frozenset({"LATE", "STALE_MODEL", "MEMBER_LOST"}), late),
    Fault("F05", "members say nothing", "empty answers, or none, for seconds",
          frozenset({"STALE_MODEL", "MEMBER_LOST", "OPERATION_DENIED"}), nothing),
    Fault("F07", "saturated scores", "scores at the rail, of two values or of one",
          frozenset({"SCORE_INSANE", "STALE_MODEL"}), saturated),
)  # fmt: skip
