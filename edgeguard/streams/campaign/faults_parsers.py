# SPDX-License-Identifier: Apache-2.0
"""Pictures and model files made to break their parsers: F28. The source or the member is absent,
the file is named, and the guard decides on. Needs the extra `images`."""

from __future__ import annotations

import hashlib
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from attrs import evolve

from edgeguard.card import Card
from edgeguard.errors import EdgeguardError
from edgeguard.inference.child import ChildProcess
from edgeguard.intake.decoder import confined
from edgeguard.intake.sources import Frame
from edgeguard.streams.campaign.fault import Fault
from edgeguard.streams.campaign.live import BACK_S, LiveCase, strike
from edgeguard.streams.campaign.mutations import FOLDERS, SOURCES, U8, mutated, source

FILES = 5  # pictures, and as many models, in one injection: they share a guard


def spoilt_files(c: LiveCase) -> None:
    """A camera's recorded pictures, then the models of a member, one spoilt file after another."""
    c.start()
    with tempfile.TemporaryDirectory(prefix="edgeguard-inject-") as folder:
        pictures(c, Path(folder))
        models(c, Path(folder))
    c.end()
    c.recover()


# ----------------------------------------------------------------- pictures


class Source:
    """The frames of a spoilt source, one at a time, until there is none."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self.left, self.shown, self.why = True, 0, ""

    def __call__(self) -> U8 | None:
        """The next picture, or None."""
        try:
            frame = next(self._frames)
        except StopIteration:
            self.left = False
            return None
        except EdgeguardError as error:
            self.left, self.why = False, str(error)
            return None
        self.shown += 1
        return frame.image


def pictures(c: LiveCase, folder: Path) -> None:
    """Each source is watched until it ends or its decoder does; then frames are missing."""
    kind = c.rng.choice(SOURCES)
    c.begin(kind, on_clock=False)
    c.hold()  # what the files show stays true
    whole = source(c.road.frame(c.sign, c.rng), kind, folder)
    place = folder / "pictures"
    place.mkdir()
    files = [place / f"spoilt-{n}{kind}" for n in range(FILES)]
    for file in files:
        file.write_bytes(mutated(whole, c.rng))
    while files:
        together = kind in FOLDERS
        seen = _watch(c, str(place if together else files[0]))
        done = min(seen.shown + 1, len(files)) if together else 1
        for file in files[:done]:  # a folder ends with the first that cannot be read
            file.unlink()
        files = files[done:]
        c.recover()


def _watch(c: LiveCase, name: str) -> Source:
    """Drive past what the source shows, and on without it."""
    c.feed = seen = Source(confined(name, 1000 / c.frame_ms))
    while seen.left:
        c.turn()
    if seen.why and "spoilt-" not in seen.why and name not in seen.why:
        c.wrong(f"the file is not named: {seen.why}")
    # The last picture came at least a frame before it was known that there is none.
    bound_ms = c.bound_ms("FRAME_LOST", "STALE_MODEL", silence=True) - c.frame_ms
    c.safe_us, end_ms = None, c.now_ms + 2 * bound_ms
    c.must(bound_ms)
    while c.safe_us is None and c.now_ms < end_ms:
        c.turn()
    if c.safe_us is None:
        c.wrong(f"goes on without its source: {seen.why}")
    c.feed = None
    return seen


# ------------------------------------------------------------------- models


class Turns:
    """Starts a worker when it is told to, in place of its budget of restarts."""

    def __init__(self, member: ChildProcess) -> None:
        self._worker = member.worker
        self._kept, self._worker._budget = self._worker._budget, self  # type: ignore[assignment]
        self._asked, self._go, self._free = threading.Event(), threading.Semaphore(0), False

    def delay(self, now: float) -> float:
        """By the supervising thread, when a worker has ended."""
        if not self._free:
            self._asked.set()
            self._go.acquire()
        return 0.0

    def next(self) -> bool:
        """End the worker and start the next one; whether it was admitted."""
        if self._worker.alive:
            strike([self._worker], signal.SIGKILL)
        self._asked.wait(BACK_S)
        self._asked.clear()
        self._go.release()
        end_s = time.monotonic() + BACK_S
        while not (self._worker.alive or self._asked.is_set()) and time.monotonic() < end_s:
            time.sleep(0.001)
        return self._worker.alive

    def free(self) -> None:
        """Give the worker its budget back."""
        self._free, self._worker._budget = True, self._kept
        self._go.release()


def models(c: LiveCase, folder: Path) -> None:
    """The card vouches for each, as if whoever spoilt the file had set its hash, too."""
    member: ChildProcess = c.rng.choice(list(c.guard.members.values()))
    spec, card = member.spec, member.card
    good = (spec.model_path or card.model_path).read_bytes()
    turns = Turns(member)
    try:
        for n in range(FILES):
            file = folder / f"spoilt-{n}{Path(card.file).suffix}"
            file.write_bytes(mutated(good, c.rng))
            _vouch(member, card, file)
            if not turns.next() and file.name not in member.reason:
                c.wrong(f"the file is not named: {member.reason}")
            c.go(3 * c.frame_ms)
    finally:
        member.spec, member.card = spec, card
        turns.next()
        turns.free()


def _vouch(member: ChildProcess, card: Card, file: Path) -> None:
    """The next worker of this member reads that file, and finds what its card says of it."""
    facts = card.to_dict() | {"labels": list(card.labels)}
    facts["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    member.card = Card.from_dict(facts, card.directory)
    member.spec = evolve(member.spec, model_path=file)


FAULTS = (
    Fault("F28", "spoilt pictures and models", f"{FILES} files of each, mutated, one after another",
          frozenset(), spoilt_files, most=2000, world="workers"),
)  # fmt: skip
