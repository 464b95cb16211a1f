# SPDX-License-Identifier: Apache-2.0
"""The options of `edgeguard run` that record, and what they do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from edgeguard.cli.numbers import Finite
from edgeguard.decision import Decision
from edgeguard.errors import EdgeguardError
from edgeguard.guard import Guard
from edgeguard.intake.sources import Frame
from edgeguard.loop import Watcher
from edgeguard.output.sinks import sink_file
from edgeguard.written import apart

if TYPE_CHECKING:
    from edgeguard.output.mcu import Behind
    from edgeguard.output.recorder import Recorder
    from edgeguard.output.recorder.frames import Frames


@frozen
class Recording:
    """What was asked for."""

    path: Path | None
    key: Path | None
    recipient: Path | None
    keep_mb: float | None
    keep_hours: float | None
    frames_hz: float | None


def taken(given: dict[str, Any]) -> Recording:
    """Take these options out of those that click read."""
    names = ("record", "record_key", "record_to", "keep_mb", "keep_hours", "record_frames")
    return Recording(*(given.pop(name) for name in names))


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a command with them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--record", metavar="FILE.mcap", type=click.Path(path_type=Path),
        help="Record every decision with its whole input; see docs/recorder.md.",
    ),
    click.option(
        "--record-key", metavar="FILE", type=click.Path(path_type=Path),
        help="The key that signs it, made if missing.  [~/.config/edgeguard/log-key.json]",
    ),
    click.option(
        "--record-to", metavar="FILE", type=click.Path(path_type=Path),
        help="A public key (X25519, PEM): only its owner can read what is recorded.",
    ),
    click.option(
        "--keep-mb", type=Finite(min=1.0),
        help="Record to a row of files, and remove the oldest beyond so many MB.",
    ),
    click.option(
        "--keep-hours", type=Finite(min=0.0, min_open=True),
        help="The same beyond so many hours.",
    ),
    click.option(
        "--record-frames", metavar="[HZ]", is_flag=False, flag_value=2.0,
        type=Finite(min=0.0, min_open=True),
        help="Record frames, too, so many a second [2]: encrypted (--record-to), or where "
        "[telemetry] disclosure is full.",
    ),
)  # fmt: skip


def check(asked: Recording, sinks: tuple[str, ...] = ()) -> None:
    """Refuse what can be told before anything is opened: a run that is refused later may leave a
    log or an emptied file behind. sinks: as --sink names them.

    Raises EdgeguardError; for a log that exists, the one that `Guard.record` would raise.
    """
    if asked.path is None:
        if asked != Recording(None, None, None, None, None, None):
            raise EdgeguardError(
                "--record-key, --record-to, --record-frames, --keep-mb and --keep-hours: belong to"
                " --record"
            )
        return
    for option, named in (("--record", asked.path), ("--record-key", asked.key)):
        if named is not None and not named.name:  # an unset variable, for instance
            raise EdgeguardError(f"{option}: names no file")
    if asked.key is not None and asked.key.suffix.lower() == ".pub":
        raise EdgeguardError(
            f"--record-key {asked.key}: is where the public key goes; name the key file FILE.json"
        )
    path, is_row = asked.path.absolute(), (asked.keep_mb, asked.keep_hours) != (None, None)
    for sink in map(sink_file, sinks):
        if sink is not None and not is_row and sink.resolve() == path.resolve():
            raise EdgeguardError(f"--sink {sink}: is the log of --record; name another")
        apart("--sink", sink, asked.key, asked.recipient)
    if not path.parent.is_dir():
        raise EdgeguardError(f"recorder: {path.parent}: is no folder")
    if not is_row and os.path.lexists(path):
        raise EdgeguardError(f"recorder: {path}: exists; a log is never overwritten")


def begin(guard: Guard, asked: Recording, camera: str, on_clock: bool) -> list[Watcher]:
    """Record, if that was asked for; the guard ends it. Raises EdgeguardError.

    What is returned watches the loop.
    """
    check(asked)
    if asked.path is None:
        return []
    recorder = guard.record(
        asked.path, key=asked.key, recipient=asked.recipient, keep_mb=asked.keep_mb,
        keep_hours=asked.keep_hours, frames_hz=asked.frames_hz,
    )  # fmt: skip
    watchers: list[Watcher] = [] if on_clock else [Pace(recorder)]
    if recorder.frames is not None:
        frame = guard.config.cameras[camera].frame
        watchers.append(Pictures(recorder.frames, camera, frame.format if frame else "BGR"))
    return watchers


def confirmed(behind: Behind) -> list[str]:
    """Which head of the log the microcontroller confirmed last, for `verify-log --head`."""
    head = behind.log_head
    return [f"mcu: confirmed the log's head {head[1].hex()} (seal {head[0]})"] if head else []


class Pictures:
    """Hands frames to the recorder."""

    def __init__(self, frames: Frames, camera: str, pixel_format: str) -> None:
        self._frames, self._camera, self._format = frames, camera, pixel_format

    def saw(self, frame: Frame) -> None:
        """It keeps a copy, when one is due."""
        self._frames.saw(self._camera, frame.image, self._format, frame.t_ns, frame.box)

    def decided(self, decision: Decision, t_ns: int) -> None:
        """Decisions are on the tape."""


class Pace:
    """Lets a simulated stream wait for the recorder, so that it has no gaps."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def saw(self, frame: Frame) -> None:
        """It looks after decisions."""

    def decided(self, decision: Decision, t_ns: int) -> None:
        """Wait while the tape is half full."""
        self._recorder.pace()
