# SPDX-License-Identifier: Apache-2.0
"""What happens to the processes of members, and what they do: F01, F02, F29."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from edgeguard.inference.supervisor import Supervisor
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.live import Deaths, LiveCase, strike
from edgeguard.streams.campaign.strange import LIES, number_of

LEFT_ALONE = 0.05  # of the hangs are ended by the guard itself, for that takes 2 s
KILLS = ("SIGKILL", "SIGSEGV", "SIGBUS", "SIGABRT", "null pointer", "leaves", "raises")
HANGS = ("spins, signals blocked", "sleeps, signals blocked", "eats memory", "churns memory",
         "garbage")  # fmt: skip
DIES_MS = 1000.0  # at most, until a process has died and that has a name
SILENT = frozenset({"torn"})
"""Lies that look like an answer that is not there yet; all others are found at once."""
HARMLESS = frozenset({"rewritten", "shrinks"})
"""Comes after the answer was taken, or is refused to the worker: nothing needs to follow."""
CAUSES = frozenset({"MEMBER_LOST", "STALE_MODEL", "LATE"})
LOST = frozenset({"MEMBER_LOST"})
"""What a process that has ended is, and one that was ended for its lies: nothing else."""


def _silence_ms(c: LiveCase) -> float:
    """Until a worker that says nothing any more is missed, and the rules command."""
    return c.bound_ms("STALE_MODEL", silence=True)


def _told(workers: Sequence[Supervisor], what: str) -> None:
    strike(workers, getattr(signal, what, None) or number_of(what))


def _until_safe(c: LiveCase, ms: float) -> None:
    """Until it acts where it must, for so long at most; then a random while longer."""
    end_ms = c.now_ms + ms
    while c.safe_us is None and c.now_ms < end_ms:
        c.turn()
    c.go(c.rng.uniform(50, 250))


def _until_told(c: LiveCase, lost: bool) -> None:
    """As `_until_safe`, and until the cause has a name: a busy machine lets nobody die quickly."""
    end_ms = c.now_ms + DIES_MS
    while c.named is None and c.now_ms < end_ms:
        c.turn()
    _until_safe(c, end_ms - c.now_ms if lost else 0.0)


def dies(c: LiveCase) -> None:
    """A process of some members ends."""
    c.start()
    hit, lost = c.some_workers()
    die(c, c.rng.choice(KILLS), hit, lost)


def die(c: LiveCase, how: str, hit: Sequence[Supervisor], lost: bool) -> None:
    """These processes end; the next ones are admitted after their self-test."""
    c.begin(f"{how}, {_share(c, hit)}", True, LOST)
    c.count_from(Deaths(hit))
    if lost:
        c.must(c.bound_ms("STALE_MODEL"))
    _told(hit, how)
    _until_told(c, lost)
    c.end()
    c.recover()


def stops(c: LiveCase) -> None:
    """The process stands still and goes on; or for so long that the guard ends it."""
    c.start()
    hit, lost = c.some_workers()
    bound_ms = _silence_ms(c)
    long = c.rng.random() < 0.7
    ms = bound_ms + c.rng.uniform(30, 200) if long else c.rng.uniform(5, 0.8 * bound_ms)
    for_good = long and c.rng.random() < LEFT_ALONE
    kind = f"stopped {'for good' if for_good else 'for a while'}, {_share(c, hit)}"
    c.begin(kind, must_be_named=long)
    if lost and long:
        c.must(bound_ms)
    strike(hit, signal.SIGSTOP)
    c.go(ms)
    if not for_good:
        strike(hit, signal.SIGCONT)
    c.end()
    c.recover()


def gone(c: LiveCase) -> None:
    """F01: killed, crashed, or stopped."""
    (dies if c.rng.random() < 0.6 else stops)(c)


def hangs(c: LiveCase) -> None:
    """F02: it does anything but answer, and hears no signal but the last one."""
    c.start()
    hit, lost = c.some_workers()
    how = c.rng.choice(HANGS)
    c.begin(f"{how}, {_share(c, hit)}", must_be_named=True)
    if lost:
        c.must(_silence_ms(c))
    _told(hit, how)
    _until_safe(c, _silence_ms(c) + 100.0)
    if c.rng.random() >= LEFT_ALONE:
        strike(hit, signal.SIGKILL)
    c.end()
    c.recover()


def lies(c: LiveCase) -> None:
    """F29: what stands in the memory of its answers is torn, old, or another's."""
    c.start()
    hit, lost = c.some_workers()
    lie(c, c.rng.choice([*LIES, "shrinks"]), hit, lost)


def lie(c: LiveCase, how: str, hit: Sequence[Supervisor], lost: bool) -> None:
    """These workers tell this lie, on every answer from the next one on."""
    causes = CAUSES if how in SILENT | HARMLESS else LOST
    c.begin(f"{how}, {_share(c, hit)}", how not in HARMLESS, causes)
    waits_ms = c.frame_ms + c.latest_ms  # the next frame is the first that it can lie about
    if how == "dies while it writes":
        c.count_from(Deaths(hit))
        waits_ms = 0.0
    if how in SILENT and lost:
        c.must(_silence_ms(c))
    elif how not in HARMLESS and lost:
        c.must(c.bound_ms("STALE_MODEL") + waits_ms)
    _told(hit, how)
    if how in HARMLESS:
        c.go(waits_ms + 100.0)
        _until_done(c, hit)
    elif how in SILENT:
        _until_safe(c, _silence_ms(c) + 100.0)
    else:
        _until_told(c, lost)
    if not all(map(c.did, hit)):
        c.wrong("it never did it")
    if how == "shrinks" and not all(worker.alive for worker in hit):
        c.wrong(f"a worker could reach what it must not: {hit[0].reason}")
    if how in SILENT:
        strike(hit, signal.SIGKILL)
    c.end()
    c.recover()


def _until_done(c: LiveCase, hit: Sequence[Supervisor]) -> None:
    """As `_until_told`, for what has no name: on a busy machine it may take some time."""
    end_ms = c.now_ms + DIES_MS
    while not all(map(c.did, hit)) and c.now_ms < end_ms:
        c.turn()


def _share(c: LiveCase, hit: Sequence[Supervisor]) -> str:
    return f"{len(hit)} of {len(c.workers())}"


FAULTS = (
    Fault("F01", "a model's process is gone", "signals that kill, crash or stop the worker; exits",
          CAUSES, gone, most=300, world="workers", alone=True),
    Fault("F02", "a model's process hangs", "signals blocked, memory eaten, garbage in its ring",
          CAUSES, hangs, most=300, world="workers", alone=True),
    Fault("F29", "shared memory misused", "torn, replayed, rewritten, a dead worker's answers",
          CAUSES, lies, most=300, world="workers", alone=True),
)  # fmt: skip
