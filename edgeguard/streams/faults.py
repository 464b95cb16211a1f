# SPDX-License-Identifier: Apache-2.0
"""Faults of the catalogue as values: what goes wrong, by its real mechanism, for so many frames.

`Repeat(30, new_timestamps=True).at(seconds=1.2)` is an event that `drive` lets happen to a stream.
A camera fault changes what the camera hands over, a score fault speaks for a member, a process
fault sends a signal to a member's process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from edgeguard.streams.stream import RATE_HZ, Attack, Shot, SignStream


class Subject(Protocol):
    """What is driven: a guard, or a bare model. See `Guard` for the methods."""

    @property
    def members(self) -> Mapping[str, Any]:
        """The opened members by name."""

    @property
    def config(self) -> Any:
        """What another one of its kind is made of."""

    def arm(self) -> None: ...
    def observe(self, camera: str, frame: Any, t_ns: int, box: Any = None) -> None: ...
    def suggest(self, member: str, scores: Any, t_capture_ns: int, t_ready_ns: int) -> None: ...
    def decide(self, signals: Mapping[str, float], t_ns: int) -> Any: ...
    def wait(self, timeout_s: float) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Fault:
    """A fault that lasts for `frames` camera frames. Subclasses say what happens."""

    frames: int = 30

    id: ClassVar[str] = ""
    causes: ClassVar[tuple[str, ...]] = ()
    """What the guard should call it, if it has to call it anything."""
    real_time: ClassVar[bool] = False
    """Whether another process is involved, so that the stream has to keep pace with the clock."""

    def at(self, seconds: float) -> Event:
        """This fault from the first camera frame at or after `seconds`."""
        return Event(self, int(np.ceil(seconds * RATE_HZ - 1e-9)))

    def evidence_ms(self, config: Any) -> float:
        """From the onset to the first evidence at the guard, by its policy."""
        return 0.0

    def recovery_ms(self, config: Any) -> float:
        """Declared bound from the end of the fault to where the guard drives by models again."""
        held = [config.causes[name].off_ms for name in self.causes]
        return float(max(held, default=0.0) + 1000 / RATE_HZ + 2 * config.guard.period_ms)

    def shots(self, stream: SignStream, index: int, step: int, t_ns: int) -> Sequence[Shot] | None:
        """What the camera hands over for frame `index`, which is number `step` of the fault; None
        when the fault is none of the camera."""
        return None

    def begin(self, subject: Subject) -> None:
        """Called once, when it starts."""

    def speak(self, subject: Subject, capture_ns: int, t_ns: int) -> None:
        """Called on every tick while it lasts, before the decision."""

    def end(self, subject: Subject) -> None:
        """Called once, when it is over."""


@dataclass(frozen=True)
class Event:
    """A fault and the camera frame at which it starts."""

    fault: Fault
    start: int

    @property
    def stop(self) -> int:
        """The first frame after it."""
        return self.start + self.fault.frames


@dataclass(frozen=True)
class Repeat(Fault):
    """F04, a frozen camera: the frame before it again and again, with old or with new stamps."""

    new_timestamps: bool = False

    id = "F04"
    causes = ("FROZEN_INPUT", "FRAME_LOST")

    def shots(self, stream: SignStream, index: int, step: int, t_ns: int) -> Sequence[Shot]:
        back_ns = round((step + 1) * 1e9 / RATE_HZ)
        shot = stream.shot(max(index - step - 1, 0), t_ns - back_ns)
        return (shot._replace(t_ns=t_ns) if self.new_timestamps else shot,)

    def __str__(self) -> str:
        return f"{self.frames} repeats, {'new' if self.new_timestamps else 'old'} stamps"


@dataclass(frozen=True)
class Blackout(Fault):
    """F10, no light: what a sensor gives in the dark, with its noise."""

    id = "F10"
    causes = ("IMAGE_UNHEALTHY",)

    def shots(self, stream: SignStream, index: int, step: int, t_ns: int) -> Sequence[Shot]:
        shot = stream.shot(index, t_ns)
        noise = np.random.default_rng(index).integers(0, 4, shot.frame.shape, np.uint8)
        return (shot._replace(frame=noise),)


@dataclass(frozen=True)
class NoFrames(Fault):
    """A camera that hands over nothing; the catalogue has no row of its own for it."""

    causes = ("FRAME_LOST", "STALE_MODEL")

    def shots(self, stream: SignStream, index: int, step: int, t_ns: int) -> Sequence[Shot]:
        return ()


@dataclass(frozen=True)
class Perturbed(Fault):
    """A static attack: the frames of a track as they were perturbed offline."""

    attack: Attack | None = None

    causes = ("DISAGREEMENT", "LOW_CERTAINTY", "OPERATION_DENIED")

    def shots(self, stream: SignStream, index: int, step: int, t_ns: int) -> Sequence[Shot]:
        assert self.attack is not None
        return (stream.shot(index, t_ns, self.attack.frames[step]),)


@dataclass(frozen=True)
class Scores(Fault):
    """A member whose answers are replaced on every tick. Subclasses say by what."""

    member: str = "plain"

    def scores(self, classes: int) -> Any:
        """What it answers in the place of its scores."""
        raise NotImplementedError

    def classes(self, subject: Subject) -> int:
        """How many scores the member gives."""
        return int(subject.members[self.member].card.scores.size)

    def speak(self, subject: Subject, capture_ns: int, t_ns: int) -> None:
        subject.suggest(self.member, self.scores(self.classes(subject)), capture_ns, capture_ns)


@dataclass(frozen=True)
class NaNScores(Scores):
    """F06: NaN where the score of one class should be. numpy's argmax takes it for the largest."""

    index: int = 8

    id = "F06"
    causes = ("SCORE_INSANE",)

    def scores(self, classes: int) -> Any:
        scores = np.zeros(classes, np.float32)
        scores[self.index] = np.nan
        return scores


@dataclass(frozen=True)
class Nothing(Fault):
    """F05: the members answer, but nothing: empty is not clear."""

    id = "F05"
    causes = ("STALE_MODEL",)

    def speak(self, subject: Subject, capture_ns: int, t_ns: int) -> None:
        for member in subject.members:
            subject.suggest(member, np.empty(0, np.float32), capture_ns, capture_ns)


@dataclass(frozen=True)
class Kill(Fault):
    """F01: SIGKILL to a member's process. It lasts one frame; how long the member is away is up to
    whoever restarts it."""

    frames: int = 1
    member: str = "plain"
    restart_ms: float = 5000.0
    """Declared bound of a restart: back-off, start, self-test."""

    id = "F01"
    causes = ("MEMBER_LOST",)
    real_time = True

    def recovery_ms(self, config: Any) -> float:
        return super().recovery_ms(config) + self.restart_ms

    def begin(self, subject: Subject) -> None:
        pid = subject.members[self.member].pid
        if pid is None:
            raise ValueError(f"member {self.member} has no process of its own to kill")
        os.kill(pid, signal.SIGKILL)
        _until_dead(pid)


@dataclass(frozen=True)
class Stopped(Fault):
    """F03: SIGSTOP, later SIGCONT to a member's process: its answer comes, but late."""

    member: str = "plain"

    id = "F03"
    causes = ("LATE",)
    real_time = True

    def evidence_ms(self, config: Any) -> float:
        return float(config.members[self.member].deadline_ms)

    def begin(self, subject: Subject) -> None:
        self._signal(subject, signal.SIGSTOP)

    def end(self, subject: Subject) -> None:
        self._signal(subject, signal.SIGCONT)

    def _signal(self, subject: Subject, number: int) -> None:
        pid = subject.members[self.member].pid
        if pid is not None:
            os.kill(pid, number)


def _until_dead(pid: int, patience_s: float = 2.0) -> None:
    """Wait until a killed process is gone with all its threads: its death is the first evidence."""
    process = Path(f"/proc/{pid}")
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state in "ZX" and len(os.listdir(process / "task")) <= 1:
                return
        except (OSError, IndexError):
            return
        time.sleep(0.001)
